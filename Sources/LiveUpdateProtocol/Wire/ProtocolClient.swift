// SPDX-License-Identifier: Apache-2.0
import Glibc
package import LiveUpdatePlatform
package import SystemPackage

/// The client's side of a socket of luod: sends a request, and waits for the answer with its tag.
///
/// 1. The request is sent, with a descriptor if the call is about one.
/// 2. Answers with other tags are dropped, whatever their length. After the death of an orchestrator, the next one may
///    repeat an answer. Notices are set aside.
/// 3. The answer is taken out of the queue, or stays there until ``discard()``. The gate leaves it there until the
///    answer was passed on, so that the next gate finds it if this one dies.
package struct ProtocolClient {
    /// The socket. This value does not close it.
    package let socket: FileDescriptor
    private let leavesAnswers: Bool
    private let setAside: (Notice) -> Void

    /// A client on a socket.
    ///
    /// - Parameters:
    ///   - socket: the socket. The caller still owns it.
    ///   - leavesAnswers: whether answers stay in the queue until ``discard()``.
    ///   - setAside: is called with each notice that comes before an answer. By default notices are dropped.
    package init(
        _ socket: FileDescriptor, leavesAnswers: Bool = false, setAside: @escaping (Notice) -> Void = { _ in }
    ) {
        self.socket = socket
        self.leavesAnswers = leavesAnswers
        self.setAside = setAside
    }

    /// An event that a client waits for.
    package enum Awaited: Sendable {
        /// Room for the request in the socket's queue.
        case room
        /// A message from luod.
        case answer
        /// The end of a shortage (`SystemCallError.isShortage`). No descriptor reports it.
        case resources
    }

    /// Waits for an event on the socket, or throws to end the call.
    package typealias Waiting = (Awaited) throws(SystemCallError) -> Void

    /// An answer with its descriptor.
    package struct Answer {
        /// The answer, without its descriptor.
        package let response: Response
        /// The descriptor. The receiver of the answer must close it.
        package let descriptor: FileDescriptor?

        /// Closes the descriptor.
        package func close() { if let descriptor { try? closeDescriptor(descriptor) } }
    }

    /// Makes a request, and waits in recvmsg(2) for its answer.
    ///
    /// - Parameters:
    ///   - request: the request.
    ///   - file: the descriptor that the call is about. If it is not open, the request is sent without it. luod then
    ///     reports this after its other checks.
    /// - Returns: the answer, with its descriptor.
    /// - Throws: ENOTCONN when luod has closed the connection, EMFILE when the descriptor of the answer did not arrive,
    ///   EPROTO for a message that no luod sends; ETOOMANYREFS, ENOBUFS or ENOMEM in a shortage, unless answers stay in
    ///   the queue: then this waits. The connection stays usable after all of these except ENOTCONN.
    package func answer(to request: Request, about file: FileDescriptor? = nil) throws(SystemCallError) -> Answer {
        try answer(to: request, file, .waiting) { awaited throws(SystemCallError) in
            if awaited == .room { socket.wait(for: .room) }
        }
    }

    /// Makes a request, and waits for its answer with the caller's own function. This takes one more system call.
    ///
    /// - Parameters:
    ///   - request: the request.
    ///   - file: as for ``answer(to:about:)``.
    ///   - isRepeated: whether the request may have been sent before, and even answered.
    ///   - wait: waits for the socket.
    /// - Returns: the answer, with its descriptor.
    /// - Throws: like ``answer(to:about:)``, and the errors of `wait`.
    package func answer(
        to request: Request, about file: FileDescriptor? = nil, isRepeated: Bool = false, wait: Waiting
    ) throws(SystemCallError) -> Answer {
        if isRepeated, let answer = try next(.peeking, ReplyDecoder(request), request.call.roomForAnswer) {
            return answer
        }
        return try answer(to: request, file, leavesAnswers ? .peeking : .now, wait)
    }

    private func answer(
        to request: Request, _ file: FileDescriptor?, _ how: FileDescriptor.Receiving, _ wait: Waiting
    ) throws(SystemCallError) -> Answer {
        let decoder = ReplyDecoder(request)
        try send(request, file, wait)
        while true {
            try wait(.answer)
            if let answer = try next(how, decoder, request.call.roomForAnswer) { return answer }
        }
    }

    /// Takes an answer out of the queue, after it was left there.
    package func discard() { try? socket.discardMessage() }

    private func send(_ request: Request, _ file: FileDescriptor?, _ wait: Waiting) throws(SystemCallError) {
        var descriptors = file.map { [$0] } ?? []
        while true {
            do throws(SystemCallError) {
                return try socket.send(request.bytes, descriptors)
            } catch {
                switch error.errno {
                case .resourceTemporarilyUnavailable: try wait(.room)
                case .badFileDescriptor where !descriptors.isEmpty: descriptors = []
                // luod has closed the connection, and may have given the reason before.
                case .brokenPipe, .connectionReset: return
                // The program behind the gate has not caused the shortage, because all programs of a user share a limit
                // on descriptors in transit.
                case _ where leavesAnswers && error.isShortage: try wait(.resources)
                default: throw error
                }
            }
        }
    }

    /// - Returns: nil when no message answers the request.
    private func next(
        _ how: FileDescriptor.Receiving, _ decoder: ReplyDecoder, _ room: Int
    ) throws(SystemCallError) -> Answer? {
        while true {
            let received: ReceivedMessage?
            do throws(SystemCallError) {
                received = try socket.receive(how, room: room)
            } catch {
                switch error.errno {
                case .resourceTemporarilyUnavailable: return nil
                // The kernel reports this once, when luod closed the socket with unread messages. Its own messages are
                // still there.
                case .connectionReset: continue
                default: throw error
                }
            }
            guard let received else { throw SystemCallError("recvmsg", .socketNotConnected) }
            do throws(SystemCallError) {
                if let answer = try answer(in: received, decoder, room) { return answer }
            } catch {
                drop(received)
                throw error
            }
            drop(received)
        }
    }

    private func drop(_ message: ReceivedMessage) {
        message.close()
        if leavesAnswers { discard() }
    }

    private func answer(
        in message: ReceivedMessage, _ decoder: ReplyDecoder, _ room: Int
    ) throws(SystemCallError) -> Answer? {
        // A message that fills the buffer may be truncated. The answer to another request may be longer than any answer
        // to this one.
        let isCut = message.bytes.count >= room
        switch decoder.meaning(message.bytes) {
        case .answer(let response):
            guard !isCut else { throw SystemCallError("recvmsg", .protocolError) }
            guard !message.isTruncated else { throw SystemCallError("recvmsg", .tooManyOpenFiles) }
            guard message.descriptors.count <= 1 else { throw SystemCallError("recvmsg", .protocolError) }
            return Answer(response: response, descriptor: message.descriptors.first)
        case .refusal(let response):
            guard message.descriptors.isEmpty else { throw SystemCallError("recvmsg", .protocolError) }
            return Answer(response: response, descriptor: nil)
        case .other: return nil
        case .notice(let notice):
            setAside(notice)
            return nil
        case .malformed:
            guard isCut else { throw SystemCallError("recvmsg", .protocolError) }
            return nil
        }
    }
}

extension Call {
    /// More bytes than an answer can have.
    fileprivate var roomForAnswer: Int { self == .status ? StatusLines.most + 8192 : 8192 }
}

extension FileDescriptor {
    /// Waits for an event on a socket. No event reports the end of a shortage, so that wait is a short pause.
    ///
    /// - Parameters:
    ///   - awaited: the event.
    ///   - milliseconds: the longest wait; -1 waits for ever.
    /// - Returns: whether there is something to send or to receive, or it is time to try again.
    @discardableResult
    package func wait(for awaited: ProtocolClient.Awaited, within milliseconds: CInt = -1) -> Bool {
        switch awaited {
        case .room: hasRoom(within: milliseconds)
        case .answer: isReadable(within: milliseconds)
        case .resources: pauseInShortage()
        }
    }

    /// Gives other processes time to end the shortage. poll(2) would return at once, because the socket has room.
    private func pauseInShortage() -> Bool {
        usleep(5_000)
        return true
    }
}

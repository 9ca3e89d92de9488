// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// A connection to luod, or a session that luod gave. It makes one request at a time, each with a new tag, so that luod
/// does the request once even if orchestrators die meanwhile.
final class SocketChannel: Channel {
    private let owned: OwnedDescriptor
    private let lock = Lock()
    /// The state directory of luod, until luod has answered on this connection.
    private nonisolated(unsafe) var unanswered: String?
    /// The notices that came before answers, oldest first.
    private let notices = Guarded<[UpdateNotice]>([])

    /// The patience of the client; nil: it waits for ever.
    private let patience: AnswerPatience?

    private init(_ owned: consuming OwnedDescriptor, _ patience: AnswerPatience?) {
        self.owned = owned
        self.patience = patience
    }

    /// Connects to a luod.
    init(to state: String, _ patience: AnswerPatience?) throws(SystemCallError) {
        owned = try Self.connect(to: state, patience)
        unsafe unanswered = state
        self.patience = patience
    }

    private static func connect(
        to state: String, _ patience: AnswerPatience?
    ) throws(SystemCallError) -> OwnedDescriptor {
        do throws(SystemCallError) {
            return try LuodSocket.connect(to: state, within: patience?.milliseconds)
        } catch {
            guard error.errno == .resourceTemporarilyUnavailable, let patience else { throw error }
            patience.lapse()
            throw SystemCallError("connect", .timedOut)
        }
    }

    var descriptor: FileDescriptor { owned.borrowed }

    func session(_ descriptor: consuming OwnedDescriptor) -> any Channel { SocketChannel(descriptor, patience) }

    func unanswered(_ subject: String) -> LiveUpdateError? { patience?.error(subject) }

    func answer(to call: Call, _ body: [UInt8], about file: FileDescriptor?) throws(SystemCallError) -> CallAnswer {
        let request = Request(call, body: body, tag: .random(in: 1 ... .max), wantsReason: true)
        return try lock.withLock { () throws(SystemCallError) in
            do throws(SystemCallError) {
                return try ask(request, file)
            } catch {
                guard error.errno == .socketNotConnected, connectAgain() else { throw error }
            }
            return try ask(request, file)
        }
    }

    // MARK: Notices

    func notice(within milliseconds: UInt64?) throws(SystemCallError) -> UpdateNotice? {
        let end = milliseconds.map { monotonicNanoseconds() / 1_000_000 + min($0, Self.longestWait) }
        while true {
            if let notice = notices.with({ $0.isEmpty ? nil : $0.removeFirst() }) { return notice }
            let now = monotonicNanoseconds() / 1_000_000
            let left = end.map { $0 - min(now, $0) } ?? Self.slice
            // A call of another thread may set aside the notice that this thread waits for, so the wait is short.
            if descriptor.isReadable(within: CInt(min(left, Self.slice))) {
                try readNotices()
            } else if left == 0 {
                return nil
            }
        }
    }

    /// Sets the notices in the queue aside. No request is under way meanwhile.
    private func readNotices() throws(SystemCallError) {
        try lock.withLock { () throws(SystemCallError) in
            while let message = try nextMessage() {
                message.close()
                if let notice = Notice(message.bytes) { setAside(notice) }
            }
        }
    }

    /// Sets a notice aside until the client asks for it. A notice of an unknown kind is dropped.
    private func setAside(_ notice: Notice) {
        guard let known = UpdateNotice(notice) else { return }
        notices.with { $0.append(known) }
    }

    /// - Returns: nil when the queue is empty.
    /// - Throws: ENOTCONN when luod has closed the connection.
    private func nextMessage() throws(SystemCallError) -> ReceivedMessage? {
        while true {
            do throws(SystemCallError) {
                guard let message = try descriptor.receive(.now) else {
                    throw SystemCallError("recvmsg", .socketNotConnected)
                }
                return message
            } catch {
                switch error.errno {
                case .resourceTemporarilyUnavailable: return nil
                // The kernel reports this once, and the messages of luod are still there.
                case .connectionReset: continue
                default: throw error
                }
            }
        }
    }

    /// The longest wait in one system call, in milliseconds.
    private static let slice: UInt64 = 50
    /// The longest wait, in milliseconds, so that the end of the wait can be represented.
    private static let longestWait: UInt64 = 1 << 50

    /// Connects again, because an orchestrator died before its keeper had the connection, and has done no request on
    /// it. The new connection has the same descriptor number, which other code may use.
    private func connectAgain() -> Bool {
        guard let state = unsafe unanswered, let next = try? Self.connect(to: state, patience) else { return false }
        return (try? next.borrowed.copy(to: descriptor)) != nil
    }

    private func ask(_ request: Request, _ file: FileDescriptor?) throws(SystemCallError) -> CallAnswer {
        let client = ProtocolClient(descriptor, setAside: setAside)
        let answer: ProtocolClient.Answer
        if let patience {
            answer = try client.answer(to: request, about: file) { awaited throws(SystemCallError) in
                try patience.wait(for: awaited, on: descriptor)
            }
        } else {
            answer = try client.answer(to: request, about: file)
        }
        unsafe unanswered = nil
        let response = answer.response
        let failure = response.failure.map { Errno(rawValue: $0) }
        let isRefusal = response.tag == 0
        return CallAnswer(
            failure: failure, answerer: isRefusal ? .refusingLuod : .luod(ReasonText(response.text)),
            body: response.body, text: response.text, descriptor: answer.descriptor)
    }
}

import LiveUpdateProtocol
import Platform
import SystemPackage

/// A connection to `luod`, or a session that it gave: one request at a time, each with a tag of its own, so that it is done
/// once however often the orchestrator behind it dies meanwhile.
final class SocketChannel: Channel {
    private let owned: OwnedDescriptor
    private let lock = Lock()
    /// Where it leads, until it has answered.
    private nonisolated(unsafe) var unanswered: String?

    init(_ owned: consuming OwnedDescriptor) { self.owned = owned }

    /// Connects to a socket of luod's.
    init(to path: String) throws(SystemCallError) {
        owned = try MessageSocket.connect(to: path)
        unsafe unanswered = path
    }

    var descriptor: FileDescriptor { owned.borrowed }

    static func session(_ descriptor: consuming OwnedDescriptor) -> any Channel { SocketChannel(descriptor) }

    func answer(to call: Call, _ body: [UInt8], about file: FileDescriptor?) throws(SystemCallError) -> CallAnswer {
        let request = Request(call, body: body, tag: .random(in: 1 ... .max))
        return try lock.withLock { () throws(SystemCallError) in
            do throws(SystemCallError) {
                return try ask(request, file)
            } catch {
                guard error.errno == .socketNotConnected, connectAnew() else { throw error }
            }
            return try ask(request, file)
        }
    }

    /// An orchestrator that dies before its keeper has a connection takes it along, and has done nothing then. Under the same
    /// number, which others may have.
    private func connectAnew() -> Bool {
        guard let path = unsafe unanswered, let next = try? MessageSocket.connect(to: path) else { return false }
        return (try? next.borrowed.copy(to: descriptor)) != nil
    }

    private func ask(_ request: Request, _ file: FileDescriptor?) throws(SystemCallError) -> CallAnswer {
        do throws(SystemCallError) {
            try send(request, file)
        } catch {
            // It has closed, and may have said why before.
            guard [.brokenPipe, .connectionReset].contains(error.errno) else { throw error }
        }
        while true {
            if let answer = try receive(tag: request.tag) {
                unsafe unanswered = nil
                return answer
            }
        }
    }

    private func send(_ request: Request, _ file: FileDescriptor?) throws(SystemCallError) {
        do throws(SystemCallError) {
            try descriptor.send(request.bytes, file.map { [$0] } ?? [])
        } catch {
            guard file != nil, error.errno == .badFileDescriptor else { throw error }
            // It is not open, which is for the other side to say: what is checked before that comes first.
            try descriptor.send(request.bytes)
        }
    }

    private func next() throws(SystemCallError) -> ReceivedMessage? {
        do throws(SystemCallError) {
            return try descriptor.receive(.waiting, room: Self.room)
        } catch {
            // Said once, when the peer closed without having read all: what it said is still there.
            guard error.errno == .connectionReset else { throw error }
            return try descriptor.receive(.waiting, room: Self.room)
        }
    }

    /// - Returns: nil for the answer to another request: after the death of an orchestrator, the next one may repeat an
    ///   answer.
    /// - Throws: ENOTCONN when luod has ended, EMFILE when the descriptor of the answer did not arrive, EPROTO for an
    ///   answer that no luod gives. The connection can be used further after the last two.
    private func receive(tag: UInt64) throws(SystemCallError) -> CallAnswer? {
        guard let message = try next() else { throw SystemCallError("recvmsg", .socketNotConnected) }
        do throws(SystemCallError) {
            let answer = try Self.answer(in: message, tag: tag)
            if answer == nil { message.close() }
            return answer
        } catch {
            message.close()
            throw error
        }
    }

    /// Decodes a message. The caller closes its descriptors when this throws or returns nil.
    private static func answer(in message: ReceivedMessage, tag: UInt64) throws(SystemCallError) -> CallAnswer? {
        guard message.bytes.count < room else { throw SystemCallError("recvmsg", .protocolError) }
        if let refusal = Response(refusing: message.bytes) {
            guard message.descriptors.isEmpty else { throw SystemCallError("recvmsg", .protocolError) }
            return CallAnswer(failure: refusal.failure.map { Errno(rawValue: $0) }, body: [])
        }
        guard let response = Response(message.bytes, tagged: true) else {
            throw SystemCallError("recvmsg", .protocolError)
        }
        guard response.tag == tag else { return nil }
        guard !message.isTruncated else { throw SystemCallError("recvmsg", .tooManyOpenFiles) }
        guard message.descriptors.count <= 1 else { throw SystemCallError("recvmsg", .protocolError) }
        let failure = response.failure.map { Errno(rawValue: $0) }
        return CallAnswer(failure: failure, body: response.body, descriptor: message.descriptors.first)
    }

    /// The room for an answer, in bytes: more than any answer has.
    private static let room = 8192
}

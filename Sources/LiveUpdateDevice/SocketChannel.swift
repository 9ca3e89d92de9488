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
            return try descriptor.receive(.waiting)
        } catch {
            // Said once, when the peer closed without having read all: what it said is still there.
            guard error.errno == .connectionReset else { throw error }
            return try descriptor.receive(.waiting)
        }
    }

    /// - Returns: nil for the answer to another request: whoever takes the place of an orchestrator that died may say again
    ///   what that one had said.
    private func receive(tag: UInt64) throws(SystemCallError) -> CallAnswer? {
        guard let message = try next() else { throw SystemCallError("recvmsg", .socketNotConnected) }
        if let refusal = Response(refusing: message.bytes) {
            message.close()
            return CallAnswer(failure: Errno(rawValue: -refusal.result), body: [])
        }
        guard let response = Response(message.bytes, tagged: true), response.tag == tag else {
            message.close()
            return nil
        }
        guard !message.isTruncated, message.descriptors.count <= 1 else {
            message.close()
            throw SystemCallError("recvmsg", .tooManyOpenFiles)
        }
        return CallAnswer(
            failure: response.result == 0 ? nil : Errno(rawValue: -response.result), body: response.body,
            descriptor: message.descriptors.first)
    }
}

import Glibc
import Platform
import SystemPackage

/// One end of the socket between a keeper and an orchestrator.
final class ControlLink: Sendable {
    private let owned: OwnedDescriptor
    private let log = Log("luod")

    init(_ owned: consuming OwnedDescriptor) {
        self.owned = owned
        // Some thousand messages may be under way before a sender has to look whether they are read.
        try? self.owned.borrowed.setSendRoom(4 << 20)
    }

    var descriptor: FileDescriptor { owned.borrowed }

    /// Neither side gets anything any more: shutdown(2).
    func shutDown() { descriptor.shutDown() }

    /// Sends a message. A full queue means that the peer has not run for thousands of messages: after a second without
    /// room the peer counts as dead. A shortage (``SystemCallError/isShortage``) says nothing about the peer.
    ///
    /// - Parameters:
    ///   - message: the message.
    ///   - descriptors: copies of them go with it.
    ///   - patience: how many milliseconds this waits for room in the queue.
    ///   - shortage: how many milliseconds this waits for the end of a shortage; nil: as many as `patience`.
    /// - Throws: EPIPE when the peer has ended, EAGAIN when the peer does not read; the errno of a shortage that lasts;
    ///   EMSGSIZE for a message that the peer would take for a cut one, which is in the log then.
    func send(
        _ message: ControlMessage, _ descriptors: [FileDescriptor] = [], patience: Int = 1000,
        inShortage shortage: Int? = nil
    ) throws(SystemCallError) {
        let bytes = message.bytes
        guard bytes.count < Self.mostBytes else {
            let type = bytes.prefix(4).reversed().reduce(0) { $0 << 8 | UInt32($1) }
            log.say(
                "a message of type \(type) between the processes of luod is not sent: it has \(bytes.count) bytes, "
                    + "and may have \(Self.mostBytes - 1)")
            throw SystemCallError("sendmsg", .messageTooLong)
        }
        let began = milliseconds()
        while true {
            do throws(SystemCallError) {
                return try descriptor.sendBeyondLimit(bytes, descriptors)
            } catch {
                let isFull = error.errno == .resourceTemporarilyUnavailable
                let limit = isFull ? patience : shortage ?? patience
                guard isFull || error.isShortage, milliseconds() - began < UInt64(limit) else { throw error }
                // poll(2) does not wait in a shortage, because the queue may have room.
                if isFull { _ = descriptor.hasRoom(within: 10) } else { usleep(2_000) }
            }
        }
    }

    /// All that is kept, in as few messages as it takes.
    func send(
        holding kept: [(keep: Keep, descriptor: FileDescriptor)], patience: Int = 1000
    ) throws(SystemCallError) {
        var rest = kept[...]
        while !rest.isEmpty {
            let batch = rest.prefix(MessageSocket.mostDescriptors)
            rest = rest.dropFirst(batch.count)
            try send(.hold(batch.map(\.keep)), batch.map(\.descriptor), patience: patience)
        }
    }

    /// A message, with its descriptors, which are the caller's.
    struct Received {
        var message: ControlMessage
        var descriptors: [FileDescriptor]
        /// Whether descriptors are missing, because this process may have no more: a shortage, and no fault of the
        /// peer's.
        var isCut: Bool
    }

    /// Longer than any message, in bytes: one that fills this may have been cut.
    private static let mostBytes = 8192

    /// The next message; nil when the peer has gone, or says what no peer of ours says.
    ///
    /// - Throws: EAGAIN when none is there and it does not wait.
    func receive(_ how: FileDescriptor.Receiving) throws(SystemCallError) -> Received? {
        let received: ReceivedMessage
        do throws(SystemCallError) {
            guard let message = try descriptor.receive(how, room: Self.mostBytes) else { return nil }
            received = message
        } catch {
            guard error.errno == .resourceTemporarilyUnavailable else { return nil }
            if how != .waiting { throw error }
            // A connection that was accepted does not wait by itself.
            _ = descriptor.isReadable(within: -1)
            return try receive(how)
        }
        guard received.bytes.count < Self.mostBytes, let message = ControlMessage(received.bytes) else {
            received.close()
            return nil
        }
        return Received(message: message, descriptors: received.descriptors, isCut: received.isTruncated)
    }
}

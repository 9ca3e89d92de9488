// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform
import SystemPackage

/// One end of the socket between a keeper and one of its processes.
final class ControlLink: Sendable {
    private let owned: OwnedDescriptor
    private let log = Log("luod")

    init(_ owned: consuming OwnedDescriptor) {
        self.owned = owned
        // A sender can queue several thousand messages before it must check whether the peer reads them.
        try? self.owned.borrowed.setSendRoom(4 << 20)
    }

    var descriptor: FileDescriptor { owned.borrowed }

    /// Ends the link for both sides: shutdown(2).
    func shutDown() { descriptor.shutDown() }

    /// Sends a message. A full queue means that the peer has not run for thousands of messages: after a second without
    /// room, the sender treats the peer as dead. A shortage (``SystemCallError/isShortage``) says nothing about the
    /// peer.
    ///
    /// - Parameters:
    ///   - message: the message.
    ///   - descriptors: copies of them are sent with the message.
    ///   - patience: how many milliseconds this waits for room in the queue.
    ///   - shortage: how many milliseconds this waits for the end of a shortage; nil: as many as `patience`.
    /// - Throws: EPIPE when the peer has ended, EAGAIN when the peer does not read; the errno of a shortage that lasts;
    ///   EMSGSIZE for a message that is too long, which the peer would believe truncated. The log then names the
    ///   message.
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
                // A shortage does not mean a full queue, so poll(2) would return at once.
                if isFull { _ = descriptor.hasRoom(within: 10) } else { usleep(2_000) }
            }
        }
    }

    /// Sends all held descriptors, in as few messages as possible.
    func send(
        holding kept: [(held: HeldSlot, descriptor: FileDescriptor)], patience: Int = 1000
    ) throws(SystemCallError) {
        var rest = kept[...]
        while !rest.isEmpty {
            let batch = rest.prefix(MessageSocket.mostDescriptors)
            rest = rest.dropFirst(batch.count)
            try send(.hold(batch.map(\.held)), batch.map(\.descriptor), patience: patience)
        }
    }

    /// A message with its descriptors. The caller owns the descriptors.
    struct Received {
        var message: ControlMessage
        var descriptors: [FileDescriptor]
        /// Whether descriptors are missing, because this process cannot open more. This is a shortage, and not a fault
        /// of the peer.
        var isCut: Bool
    }

    /// The room for a message, in bytes. Messages are shorter: one that fills the room may have been truncated.
    private static let mostBytes = 8192

    /// Receives the next message; nil when the peer has gone or sends an invalid message.
    ///
    /// - Throws: EAGAIN when there is no message and `how` does not wait.
    func receive(_ how: FileDescriptor.Receiving) throws(SystemCallError) -> Received? {
        let received: ReceivedMessage
        do throws(SystemCallError) {
            guard let message = try descriptor.receive(how, room: Self.mostBytes) else { return nil }
            received = message
        } catch {
            guard error.errno == .resourceTemporarilyUnavailable else { return nil }
            if how != .waiting { throw error }
            // An accepted connection is nonblocking, so recvmsg(2) does not wait.
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

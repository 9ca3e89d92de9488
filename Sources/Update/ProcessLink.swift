// SPDX-License-Identifier: Apache-2.0
import Glibc
package import LiveUpdatePlatform
package import SystemPackage

/// One end of the socket between a process and an image that it has started. A sender never waits for an answer. The
/// receiver reads a message even after its sender has ended.
package final class ProcessLink: Sendable {
    private let owned: OwnedDescriptor

    /// Takes an end of the socket.
    package init(_ owned: consuming OwnedDescriptor) {
        self.owned = owned
        // A sender can queue several thousand messages before it must check whether the peer reads them.
        try? self.owned.borrowed.setSendRoom(4 << 20)
    }

    /// The end of the socket. The link still owns it.
    package var descriptor: FileDescriptor { owned.borrowed }

    /// Messages are shorter than this, in bytes. A received message that has as many may have been truncated.
    package static let mostBytes = 8192

    /// Sends a message. A full queue means that the peer has not run for thousands of messages: after a second without
    /// room, the sender treats the peer as dead. A shortage (``SystemCallError/isShortage``) says nothing about the
    /// peer.
    ///
    /// - Parameters:
    ///   - bytes: the message.
    ///   - descriptors: copies of them are sent with the message.
    ///   - patience: how many milliseconds this waits for room in the queue.
    ///   - shortage: how many milliseconds this waits for the end of a shortage; nil: as many as `patience`.
    /// - Throws: EPIPE when the peer has ended, EAGAIN when the peer does not read; the errno of a shortage that lasts;
    ///   EMSGSIZE for a message that is too long, which the peer would believe truncated.
    package func send(
        _ bytes: [UInt8], _ descriptors: [FileDescriptor] = [], patience: Int = 1000, inShortage shortage: Int? = nil
    ) throws(SystemCallError) {
        guard bytes.count < Self.mostBytes else { throw SystemCallError("sendmsg", .messageTooLong) }
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

    /// Receives the next message, with its descriptors; nil when the peer has gone or its message may be truncated. The
    /// caller owns the descriptors.
    ///
    /// - Throws: EAGAIN when there is no message and `how` does not wait.
    package func receive(_ how: FileDescriptor.Receiving) throws(SystemCallError) -> ReceivedMessage? {
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
        guard received.bytes.count < Self.mostBytes else {
            received.close()
            return nil
        }
        return received
    }
}

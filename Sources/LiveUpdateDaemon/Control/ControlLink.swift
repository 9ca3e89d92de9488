// SPDX-License-Identifier: Apache-2.0
import LiveUpdateMachine
import LiveUpdatePlatform
import SystemPackage

/// One end of the socket between a keeper and one of its processes: a ``ProcessLink`` with ``ControlMessage``s.
final class ControlLink: Sendable {
    private let link: ProcessLink
    private let log = Log("luod")

    init(_ owned: consuming OwnedDescriptor) { link = ProcessLink(owned) }

    var descriptor: FileDescriptor { link.descriptor }

    /// Ends the link for both sides: shutdown(2).
    func shutDown() { descriptor.shutDown() }

    /// Sends a message, as ``ProcessLink/send(_:_:patience:inShortage:)`` does.
    ///
    /// - Throws: as ``ProcessLink/send(_:_:patience:inShortage:)``. With EMSGSIZE, the log names the message.
    func send(
        _ message: ControlMessage, _ descriptors: [FileDescriptor] = [], patience: Int = 1000,
        inShortage shortage: Int? = nil
    ) throws(SystemCallError) {
        let bytes = message.bytes
        do throws(SystemCallError) {
            try link.send(bytes, descriptors, patience: patience, inShortage: shortage)
        } catch {
            if error.errno == .messageTooLong { sayTooLong(bytes) }
            throw error
        }
    }

    private func sayTooLong(_ bytes: [UInt8]) {
        let type = bytes.prefix(4).reversed().reduce(0) { $0 << 8 | UInt32($1) }
        log.say(
            "a message of type \(type) between the processes of luod is not sent: it has \(bytes.count) bytes, "
                + "and may have \(ProcessLink.mostBytes - 1)")
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

    /// Receives the next message; nil when the peer has gone or sends an invalid message.
    ///
    /// - Throws: EAGAIN when there is no message and `how` does not wait.
    func receive(_ how: FileDescriptor.Receiving) throws(SystemCallError) -> Received? {
        guard let received = try link.receive(how) else { return nil }
        guard let message = ControlMessage(received.bytes) else {
            received.close()
            return nil
        }
        return Received(message: message, descriptors: received.descriptors, isCut: received.isTruncated)
    }
}

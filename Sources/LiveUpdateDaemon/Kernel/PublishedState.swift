// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// The time in which the state is published and this kernel still runs. luod waits for the client that starts the next
/// kernel, and changes nothing.
///
/// Other clients wait, too. Only new connections of root and luod's own user are read, so that `luoctl status` and
/// `luoctl stop` fail at once, and name the process that luod waits for. After a call-off the acceptor gets these
/// connections.
final class PublishedState {
    private let client: Connection
    private let listener: FileDescriptor?
    private let replies: ReplySender
    private let keeper: KeeperLink
    /// The connections that were accepted meanwhile.
    private var visitors: [FileDescriptor] = []

    /// The most connections that are accepted meanwhile.
    private static let mostVisitors = 64

    init(_ client: Connection, _ listener: FileDescriptor?, _ replies: ReplySender, _ keeper: KeeperLink) {
        (self.client, self.listener, self.replies, self.keeper) = (client, listener, replies, keeper)
    }

    /// Waits until the client calls the update off: it closes its connection, or makes a request other than a question
    /// whether the state is still published. If the client starts the next kernel, this never returns.
    ///
    /// - Returns: the connections that were accepted meanwhile. The caller owns them.
    func wait() -> [FileDescriptor] {
        while true {
            if client.descriptor.isReadable(within: 50), !confirm() { return visitors }
            keeper.tick()
            acceptVisitors()
            let gone = visitors.filter { !answer($0) }
            for visitor in gone { try? closeDescriptor(visitor) }
            visitors.removeAll { gone.contains($0) }
        }
    }

    /// Answers the client's question whether the state is still published.
    ///
    /// - Returns: whether the client has asked that.
    private func confirm() -> Bool {
        guard let message = try? client.descriptor.receive(.peeking) else { return false }
        message.close()
        guard let request = try? client.decoder.request(message.bytes), request.call == .kernelUpdate,
            UpdateCall(request.body).flags == UpdateCall.confirm
        else { return false }
        replies.send(Reply(0, body: UpdateCall().body).completed(for: request), to: client)
        return true
    }

    private func acceptVisitors() {
        guard let listener else { return }
        while visitors.count < Self.mostVisitors, let visitor = try? listener.acceptConnection() {
            visitors.append(visitor.release())
        }
    }

    /// The requests that are refused. All others wait.
    private static let refused: Set<Call> = [.status, .stop, .update, .reload, .load, .kernelUpdate]

    /// Answers the next request of a visitor, if there is one of those that are refused.
    ///
    /// - Returns: false when the visitor has closed the connection.
    private func answer(_ visitor: FileDescriptor) -> Bool {
        guard visitor.isReadable(within: 0) else { return true }
        let message: ReceivedMessage
        do throws(SystemCallError) {
            guard let received = try visitor.receive(.peeking) else { return false }
            message = received
        } catch {
            return error.errno == .resourceTemporarilyUnavailable
        }
        message.close()
        let decoder = RequestDecoder(isOnSession: false, isOutgoing: nil)
        guard let request = try? decoder.request(message.bytes), Self.refused.contains(request.call) else {
            return true
        }
        // A visitor that does not read, or that has gone, needs no answer.
        try? visitor.send(Reply(refusal).completed(for: request).response.bytes)
        try? visitor.discardMessage()
        return true
    }

    private var refusal: LiveUpdateError {
        let process = client.clientID.process
        return LiveUpdateError(
            .resourceBusy, "everything is published for the next kernel, which process \(process) starts",
            remedy: "wait for the next kernel, or end process \(process), which calls the kernel update off")
    }
}

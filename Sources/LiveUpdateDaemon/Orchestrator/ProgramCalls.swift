// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// Performs the calls of `luoctl run` and of the gate: SERVE, OPEN_DEVICE, IDENTIFY.
///
/// A program finds `/dev/liveupdate` because the kernel reports its system calls to the gate (docs/run.md). The gate is
/// a process of its own and answers those calls. An opened device is a socket, one for each user.
final class ProgramCalls {
    private let store: DescriptorMirror
    private let orchestrator: Orchestrator
    private let connections: ConnectionTable
    private let closer: ConnectionCloser
    private let admissions: Admissions
    private let keeper: KeeperLink
    private let state: StateDirectory

    init(
        _ store: DescriptorMirror, _ orchestrator: Orchestrator, _ connections: ConnectionTable,
        _ closer: ConnectionCloser, _ admissions: Admissions, _ keeper: KeeperLink, _ state: StateDirectory
    ) {
        self.store = store
        self.orchestrator = orchestrator
        self.connections = connections
        self.closer = closer
        self.admissions = admissions
        self.keeper = keeper
        self.state = state
    }

    // MARK: Programs

    /// Holds the listener of a program's filter. The keeper gives it to the gate.
    ///
    /// - Throws: EINVAL when the descriptor is not such a listener; ENOTCONN when the keeper has died, because no gate
    ///   would answer; EBUSY when this orchestrator has already received the listener; EMFILE at the limits.
    func serve(_ listener: FileDescriptor?, _ client: Client) throws(LiveUpdateError) -> Reply {
        guard keeper.isThere else {
            throw LiveUpdateError(
                .socketNotConnected, "the keeper of luod has died",
                remedy: "start luod on this state, which takes the keeper's place")
        }
        guard let listener, listener.isCallListener else {
            throw LiveUpdateError(
                .invalidArgument, "no listener of a seccomp filter came", remedy: "pass the listener of the program")
        }
        if let slot = store.slots(.program).first(where: { isHeld(listener, in: $0) }) {
            // An earlier orchestrator that received the listener may have died before it could answer this request.
            if wasFound(slot, of: client.user) { return Reply(0, body: WordCall().body) }
            throw LiveUpdateError(
                .resourceBusy, "the calls of this program are answered already", remedy: "pass each listener once")
        }
        try admissions.checkDescriptors(of: client)
        // Without room for the program's calls no gate could start, and the program would wait in its next open(2).
        try state.calls.reserve()
        do {
            let slot = try store.take(try listener.duplicated(), .program, DescriptorLabel(user: client.user))
            guard let kept = store.descriptor(in: slot) else { throw SystemCallError("fcntl", .badFileDescriptor) }
            try connections.add(kept, slot, .program(client.user), client.connection.clientID)
        } catch {
            throw LiveUpdateError(.noMemory, "a program's listener: \(error)")
        }
        return Reply(0, body: WordCall().body)
    }

    private func isHeld(_ listener: FileDescriptor, in slot: DescriptorSlot) -> Bool {
        store.descriptor(in: slot)?.isSameDescription(as: listener) ?? false
    }

    /// Whether an earlier orchestrator has received the listener of a program, for this user.
    private func wasFound(_ slot: DescriptorSlot, of user: SessionUser) -> Bool {
        let found = ClientID(user: user, process: 0)
        return store.descriptor(in: slot).flatMap { connections[$0] }?.clientID == found
    }

    // MARK: The device

    /// Opens the device for a user. Each user can open it only once at a time.
    ///
    /// - Throws: EBUSY; EIO when the state from the previous boot cannot be read.
    func openDevice(_ request: Request, _ client: Client) throws(LiveUpdateError) -> Reply {
        let boot = try orchestrator.boot
        let user = WordCall(body: request.body).word
        _ = closer.closeUnclaimed(client.connection) { $0.isDevice(of: user) }
        guard !connections.all.contains(where: { $0.isDevice(of: user) }) else {
            throw LiveUpdateError(
                .resourceBusy, "user \(user) has the device open already", remedy: "close it in the program that has it"
            )
        }
        do {
            let ends = try MessageSocket.pair()
            var reply = Reply(0, body: request.answerBody)
            reply.descriptor = ends.1
            reply.isOwned = true
            let label = DescriptorLabel(cookie: try ends.1.socketCookie(), user: user, boot: boot)
            let slot = try store.take(OwnedDescriptor(taking: ends.0), .device, label)
            try connections.add(ends.0, slot, .device(user), ClientID(user: user, process: 0))
            client.connection.noteGiven(slot)
            return reply
        } catch {
            throw LiveUpdateError(.noMemory, "the device's descriptor: \(error)")
        }
    }

    /// Identifies the other end of one of luod's own sockets.
    ///
    /// - Throws: ENOENT when the socket is not luod's.
    func identify(_ request: Request) throws(LiveUpdateError) -> Reply {
        let cookie = FileCall(request.body).token
        let socket = store.slot(withCookie: cookie).flatMap(store.descriptor(in:))
        guard let role = socket.flatMap({ connections[$0] })?.role else {
            throw LiveUpdateError(.noSuchFileOrDirectory, "a descriptor of another user")
        }
        return Reply(0, body: FileCall(token: cookie, descriptor: role.rawValue).body)
    }
}

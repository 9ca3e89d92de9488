// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// Performs the calls on the device, on a client's connection or on an opened device.
final class DeviceCalls {
    private let opener: SessionOpener
    private let remover: SessionRemover
    private let programs: ProgramCalls
    private let status: StatusReporter
    private let stop: StopCall
    private let kernelUpdate: KernelUpdateCall
    private let connections: ConnectionTable
    private let longWork: LongWorkRunner
    private let updates: UpdateRunner
    private let refusal: Refusal?

    init(
        _ opener: SessionOpener, _ remover: SessionRemover, _ programs: ProgramCalls, _ status: StatusReporter,
        _ stop: StopCall, _ kernelUpdate: KernelUpdateCall, _ connections: ConnectionTable,
        _ longWork: LongWorkRunner, _ updates: UpdateRunner, _ refusal: Refusal?
    ) {
        self.opener = opener
        self.remover = remover
        self.programs = programs
        self.status = status
        self.stop = stop
        self.kernelUpdate = kernelUpdate
        self.connections = connections
        self.longWork = longWork
        self.updates = updates
        self.refusal = refusal
    }

    /// - Returns: the answer; nil when the request is answered later.
    /// - Throws: EPERM for a call that needs rights; EINVAL for a call that the device does not have; EIO during a
    ///   refusal; the errors of each call.
    func perform(
        _ request: Request, _ descriptor: FileDescriptor?, _ client: Client
    ) throws(LiveUpdateError) -> Reply? {
        try Self.check(request.call, by: client.user, ownUser: geteuid(), refusal)
        switch request.call {
        case .createSession: return try opener.create(request, client)
        case .retrieveSession: return try opener.retrieve(request, client)
        case .attachSession: return try opener.attach(request, client)
        case .removeSession: return remove(request, client)
        case .asUser: return try act(request, client)
        case .status: return try status.perform(request, client)
        case .ping: return Reply(0, body: request.answerBody)
        case .update, .reload:
            // A refused request must not interrupt long work.
            if let refusal = updates.refusal(of: request, client) { return refusal }
            return longWork.mustWait(update: client.connection) ? nil : updates.begin(request, client)
        case .load: return updates.begin(request, client)
        case .kernelUpdate:
            return longWork.mustWait(update: client.connection) ? nil : kernelUpdate.perform(request, client)
        case .stop: return stop.perform(request, client)
        case .serve: return try programs.serve(descriptor, client)
        case .openDevice: return try programs.openDevice(request, client)
        case .identify: return try programs.identify(request)
        default: throw LiveUpdateError(.invalidArgument, "not a call of the device")
        }
    }

    /// Checks that a user may make a call now. `ownUser` is the user that luod runs as.
    ///
    /// - Throws: EPERM for a privileged call of a user that may not make it; EIO during a refusal, for all calls except
    ///   STATUS, RELOAD and STOP of root and luod's own user.
    static func check(
        _ call: Call, by user: SessionUser, ownUser: SessionUser, _ refusal: Refusal?
    ) throws(LiveUpdateError) {
        let mayControl = user == 0 || user == ownUser
        if let refusal {
            guard mayControl, [.status, .reload, .stop].contains(call) else { throw refusal.error }
        } else if !mayControl && call.isPrivileged {
            throw LiveUpdateError(
                .notPermitted, "only root and the user that luod runs as may do this", remedy: "run as root")
        }
    }

    private func remove(_ request: Request, _ client: Client) -> Reply? {
        // The thread that works on the session will end soon.
        guard !longWork.isAtWork(request, client.user) else {
            connections.postpone(client.connection)
            return nil
        }
        return remover.perform(request, client)
    }

    /// Makes the connection act as another user from now on, without that user's limits.
    ///
    /// - Throws: EPERM for a client other than root.
    private func act(_ request: Request, _ client: Client) throws(LiveUpdateError) -> Reply {
        let connection = client.connection
        guard case .client = connection.peer, (try? connection.descriptor.peer())?.user == 0 else {
            throw LiveUpdateError(.notPermitted, "only root acts as another user", remedy: "run as root")
        }
        let user = WordCall(body: request.body).word
        guard user != .max else {
            throw LiveUpdateError(.invalidArgument, "\(user) is not the number of a user", remedy: "name another user")
        }
        connections.change(connection, to: .client(user))
        var label = connection.label
        label.user = user
        label.traits.insert(.isUnlimited)
        connections.relabel(connection, label)
        return Reply(0, body: request.answerBody)
    }
}

// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateMachine
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// KERNEL_UPDATE: publishes the state for a next boot under another kernel.
///
/// 1. luod refuses the request if files end with the kernel or cannot be frozen, and names all of them. Then it refuses
///    the request if sessions are unfinished. A client can allow the loss of both with flags.
/// 2. luod publishes and answers. From then on luod serves no client. The client now starts the next kernel.
/// 3. While this kernel still runs, the client can call the update off: luod thaws when the client closes its
///    connection or sends anything on it.
///
/// With the flag `atEnd` luod goes on serving, and publishes when it is ended, as a service manager ends it before the
/// machine restarts. The kernel's orchestrator carries nothing then, because its session ends with luod.
final class KernelUpdateCall {
    private let orchestrator: Orchestrator
    private let store: DescriptorMirror
    private let state: String
    private let updates: UpdateRunner
    private let acceptor: Acceptor
    private let replies: ReplySender
    private let keeper: KeeperLink
    private let log: Log
    /// The request for a publication at the end of luod; nil without one.
    private var atEnd: UpdateCall?

    init(
        _ orchestrator: Orchestrator, _ store: DescriptorMirror, state: String, _ updates: UpdateRunner,
        _ acceptor: Acceptor, _ replies: ReplySender, _ keeper: KeeperLink, _ log: Log
    ) {
        self.orchestrator = orchestrator
        self.store = store
        self.state = state
        self.updates = updates
        self.acceptor = acceptor
        self.replies = replies
        self.keeper = keeper
        self.log = log
    }

    /// Performs the request. If the state is published, this returns only after the update was called off.
    ///
    /// - Returns: the answer; nil when it was sent already.
    func perform(_ request: Request, _ client: Client) -> Reply? {
        let call = UpdateCall(request.body)
        if call.flags & UpdateCall.forget != 0 {
            if atEnd != nil { log.say("kernel update: called off: nothing is published when luod ends") }
            atEnd = nil
            return Reply(0, body: UpdateCall().body)
        }
        guard !updates.isUnderWay else {
            return refuse("an update is under way\nremedy: ask again when it has ended", .resourceBusy)
        }
        let obstacles = (try? orchestrator.obstacles(replacing: replaced(call))) ?? []
        let discarded = call.discards ? ((try? orchestrator.unfinishedSessions()) ?? []) : []
        if let first = obstacles.first, !call.leavesOut {
            return refuse(UpdateCost.kernelRefusal(obstacles), first.errno)
        }
        if !call.discards, let unfinished = unfinished() { return unfinished }
        let lines = obstacles.map(UpdateCost.line) + discarded.flatMap(UpdateCost.lines)
        var reply = Reply(0, body: UpdateCall(text: UpdateCost.text(lines, room: UpdateCost.room)).body)
        reply.response.tag = request.tag
        guard call.flags & UpdateCall.onlyAsk == 0 else { return reply }
        log.sayAll(lines.map { "kernel update: goes on without \($0)" })
        guard call.flags & UpdateCall.atEnd == 0 else {
            atEnd = call
            log.say("kernel update: the state is published for the next kernel when luod ends")
            return reply
        }
        let departure: KernelDeparture?
        do throws(LiveUpdateError) {
            departure = try publish(call)
        } catch {
            return refuse("\(LuoctlRemedies.adapted(error))", error.errno)
        }
        replies.send(reply, to: client.connection)
        withExtendedLifetime(departure) { wait(for: client.connection) }
        return nil
    }

    /// Publishes at the end of luod, if a client has asked for it.
    func end() {
        guard let call = atEnd else { return }
        do throws(LiveUpdateError) {
            _ = try publish(call)
        } catch {
            log.say("kernel update: nothing was published: \(error)")
        }
    }

    private func replaced(_ call: UpdateCall) -> Replacement {
        .kernel(carrying: carriesMemory(call) ? KernelDeparture.kinds : [])
    }

    /// Whether the kernel's orchestrator carries memory files.
    private func carriesMemory(_ call: UpdateCall) -> Bool {
        call.flags & UpdateCall.atEnd == 0 && KernelSession.isPossible
    }

    /// Whether a client has asked for a publication at the end of luod.
    var isDueAtEnd: Bool { atEnd != nil }

    private func unfinished() -> Reply? {
        do throws(LiveUpdateError) {
            try orchestrator.checkUnfinished()
            return nil
        } catch {
            return refuse("\(LuoctlRemedies.adapted(error))", error.errno)
        }
    }

    /// Publishes the state for the next kernel. If this fails, nothing is published.
    ///
    /// - Returns: the carrier of the memory files; nil when the kernel's orchestrator carries nothing.
    private func publish(_ call: UpdateCall) throws(LiveUpdateError) -> KernelDeparture? {
        acceptor.admitAll()
        let departure = carriesMemory(call) ? try KernelDeparture(orchestrator, store, state: state) : nil
        try orchestrator.publish(
            discardingUnfinished: call.discards, leavingOut: call.leavesOut, replacing: replaced(call))
        do throws(LiveUpdateError) {
            try departure?.complete()
        } catch {
            try? orchestrator.thaw()
            throw error
        }
        log.say("kernel update: the state is published for the next kernel")
        return departure
    }

    /// Waits until the client calls the update off. If the client starts the next kernel, this never returns.
    private func wait(for connection: Connection) {
        while !connection.descriptor.isReadable(within: 50) { keeper.tick() }
        do throws(LiveUpdateError) {
            try orchestrator.thaw()
            log.say("kernel update: called off: luod goes on")
        } catch {
            log.say("kernel update: luod cannot go on: \(error)")
        }
    }

    private func refuse(_ why: String, _ errno: Errno) -> Reply {
        log.sayAll(why.split(separator: "\n").map { "kernel update: \($0)" })
        return Reply(-errno.rawValue, body: UpdateCall(text: why).body)
    }
}

extension UpdateCall {
    fileprivate var discards: Bool { flags & Self.discard != 0 }
    fileprivate var leavesOut: Bool { flags & Self.leaveOut != 0 }
}

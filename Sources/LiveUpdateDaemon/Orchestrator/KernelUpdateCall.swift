// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateMachine
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// KERNEL_UPDATE: publishes the state for a next boot under another kernel.
///
/// 1. Files that end with the kernel, files that cannot be frozen, and unfinished sessions refuse the request, all of
///    them at once. The client may allow their loss.
/// 2. luod publishes and answers. From then on it serves no client. The client now starts the next kernel.
/// 3. While this kernel still runs, the client can take everything back: luod thaws when the client closes its
///    connection or sends anything on it.
///
/// With the flag `atEnd` luod goes on serving, and publishes when it is ended, which is how a service manager shuts a
/// machine down.
final class KernelUpdateCall {
    private let orchestrator: Orchestrator
    private let updates: UpdateRunner
    private let acceptor: Acceptor
    private let replies: ReplySender
    private let keeper: KeeperLink
    private let log: Log
    /// The request for a publication at the end of luod; nil without one.
    private var atEnd: UpdateCall?

    init(
        _ orchestrator: Orchestrator, _ updates: UpdateRunner, _ acceptor: Acceptor, _ replies: ReplySender,
        _ keeper: KeeperLink, _ log: Log
    ) {
        self.orchestrator = orchestrator
        self.updates = updates
        self.acceptor = acceptor
        self.replies = replies
        self.keeper = keeper
        self.log = log
    }

    /// - Returns: the answer; nil when it was sent, and the state was published and taken back.
    func perform(_ request: Request, _ client: Client) -> Reply? {
        let call = UpdateCall(request.body)
        guard !updates.isUnderWay else {
            return refuse("an update is under way\nremedy: ask again when it has ended", .resourceBusy)
        }
        let obstacles = (try? orchestrator.obstacles(replacingKernel: true)) ?? []
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
        if let failure = publish(call) { return refuse("\(LuoctlRemedies.adapted(failure))", failure.errno) }
        replies.send(reply, to: client.connection)
        wait(for: client.connection)
        return nil
    }

    /// Publishes at the end of luod, if a client has asked for it.
    func end() {
        guard let call = atEnd else { return }
        if let failure = publish(call) { log.say("kernel update: nothing was published: \(failure)") }
    }

    private func unfinished() -> Reply? {
        do throws(LiveUpdateError) {
            try orchestrator.checkUnfinished()
            return nil
        } catch {
            return refuse("\(LuoctlRemedies.adapted(error))", error.errno)
        }
    }

    private func publish(_ call: UpdateCall) -> LiveUpdateError? {
        acceptor.admitAll()
        do throws(LiveUpdateError) {
            try orchestrator.publishForNextKernel(
                discardingUnfinished: call.discards, leavingOut: call.leavesOut)
            log.say("kernel update: the state is published for the next kernel")
            return nil
        } catch {
            return error
        }
    }

    /// Waits until the client gives up. If the client starts the next kernel, this never returns.
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

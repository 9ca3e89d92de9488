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
    /// The flags of a request to publish at the end of luod; 0 without a request.
    private var atEnd: UInt32 = 0

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
        guard call.flags & ~Self.knownFlags == 0 else {
            return refuse("the request has unknown flags\nremedy: use luoctl of the version of luod", .invalidArgument)
        }
        if call.flags & UpdateCall.forget != 0 {
            if atEnd != 0 { log.say("kernel update: called off: nothing is published when luod ends") }
            setAtEnd(0)
            return Reply(0, body: UpdateCall().body)
        }
        guard !updates.isUnderWay else {
            return refuse("an update is under way\nremedy: ask again when it has ended", .resourceBusy)
        }
        let lines: [String]
        do throws(LiveUpdateError) {
            lines = try losses(call)
        } catch {
            return refuse(error.reason, error.errno)
        }
        var reply = Reply(0, body: UpdateCall(text: UpdateCost.text(lines, room: UpdateCost.room)).body)
        reply.response.tag = request.tag
        guard call.flags & UpdateCall.onlyAsk == 0 else { return reply }
        log.sayAll(lines.map { "kernel update: goes on without \($0)" })
        guard call.flags & UpdateCall.atEnd == 0 else {
            setAtEnd(call.flags)
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
        log.say(
            "kernel update: luod waits for process \(client.connection.clientID.process), which starts the next kernel")
        withExtendedLifetime(departure) { wait(for: client.connection) }
        return nil
    }

    /// The lines about what is lost.
    ///
    /// - Throws: the refusal. Its reason is the text of the answer.
    private func losses(_ call: UpdateCall) throws(LiveUpdateError) -> [String] {
        let obstacles = try orchestrator.obstacles(replacing: replaced(call))
        if let first = obstacles.first, !call.leavesOut {
            throw LiveUpdateError(first.errno, UpdateCost.kernelRefusal(obstacles))
        }
        if !call.discards {
            do throws(LiveUpdateError) {
                try orchestrator.checkUnfinished()
            } catch {
                throw LiveUpdateError(error.errno, "\(LuoctlRemedies.adapted(error))")
            }
        }
        let discarded = call.discards ? try orchestrator.unfinishedSessions() : []
        return obstacles.map(UpdateCost.line) + discarded.flatMap(UpdateCost.lines)
    }

    private static let knownFlags =
        UpdateCall.discard | UpdateCall.leaveOut | UpdateCall.atEnd | UpdateCall.onlyAsk | UpdateCall.forget

    // MARK: At the end of luod

    /// Notes the flags of a request that an earlier orchestrator has answered.
    func publishAtEnd(_ flags: UInt32) { atEnd = flags }

    /// The keeper has the flags for the next orchestrator.
    private func setAtEnd(_ flags: UInt32) {
        atEnd = flags
        try? keeper.send(.publishAtEnd(flags: flags))
    }

    /// Publishes at the end of luod, if a client has asked for it. It is too late to refuse: a file that cannot go is
    /// left out.
    func end() {
        guard atEnd != 0 else { return }
        do throws(LiveUpdateError) {
            _ = try publish(UpdateCall(flags: atEnd | UpdateCall.leaveOut))
            log.sayAll(orchestrator.leftOut.map { "kernel update: goes on without \(UpdateCost.line($0))" })
        } catch {
            log.say("kernel update: nothing was published: \(error)")
        }
    }

    // MARK: Publishing

    private func replaced(_ call: UpdateCall) -> Replacement {
        .kernel(carryingMemory: carriesMemory(call))
    }

    /// Whether the kernel's orchestrator carries memory files.
    private func carriesMemory(_ call: UpdateCall) -> Bool {
        call.flags & UpdateCall.atEnd == 0 && KernelSession.isPossible
    }

    /// Publishes the state for the next kernel. If this fails, nothing is published.
    ///
    /// - Returns: the carrier of the memory files; nil when the kernel's orchestrator carries nothing.
    private func publish(_ call: UpdateCall) throws(LiveUpdateError) -> KernelDeparture? {
        acceptor.admitAll()
        let departure =
            carriesMemory(call)
            ? try KernelDeparture(orchestrator, store, state: state, leavingOut: call.leavesOut) : nil
        log.sayAll((departure?.left ?? []).map { "kernel update: goes on without \($0)" })
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

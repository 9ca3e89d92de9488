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
/// 2. If the kernel's orchestrator carries memory files, a thread gives it all of them (``KernelDeparture``), while
///    luod serves its clients. Then luod performs the request again.
/// 3. luod publishes and answers. From then on luod serves no client. The client now starts the next kernel.
/// 4. While this kernel still runs, the client can call the update off: luod thaws when the client closes its
///    connection or makes another request on it (``PublishedState``).
///
/// With the flag `atEnd` luod goes on serving, and publishes when it is ended, as a service manager ends it before the
/// machine restarts. The keeper then gets the session of the kernel's orchestrator, for the process that holds it until
/// the kernel ends (``HolderProcess``).
final class KernelUpdateCall {
    private let orchestrator: Orchestrator
    private let store: DescriptorMirror
    private let state: String
    private let updates: UpdateRunner
    private let longWork: LongWorkRunner
    private let connections: ConnectionTable
    private let acceptor: Acceptor
    private let replies: ReplySender
    private let keeper: KeeperLink
    private let log: Log
    /// The flags of a request to publish at the end of luod; 0 without a request.
    private var atEnd: UInt32 = 0
    /// The files that a thread gives to the kernel, or has given.
    private var preparation: Preparation?

    /// A kernel update before its publication.
    private final class Preparation {
        let connection: Connection
        let departure: KernelDeparture
        var failure: KernelUpdateRefusal?

        init(_ connection: Connection, _ departure: KernelDeparture) {
            (self.connection, self.departure) = (connection, departure)
        }
    }

    init(
        _ orchestrator: Orchestrator, _ store: DescriptorMirror, state: String, _ updates: UpdateRunner,
        _ longWork: LongWorkRunner, _ connections: ConnectionTable, _ acceptor: Acceptor, _ replies: ReplySender,
        _ keeper: KeeperLink, _ log: Log
    ) {
        self.orchestrator = orchestrator
        self.store = store
        self.state = state
        self.updates = updates
        self.longWork = longWork
        self.connections = connections
        self.acceptor = acceptor
        self.replies = replies
        self.keeper = keeper
        self.log = log
    }

    /// Performs the request. If the state is published, this returns only after the update was called off.
    ///
    /// - Returns: the answer; nil when it was sent already, or when luod performs the request again later.
    func perform(_ request: Request, _ client: Client) -> Reply? {
        let call = UpdateCall(request.body)
        let connection = client.connection
        dropAbandoned()
        let losses = KernelUpdateStep.needsLosses(call.flags) ? losses(call) : .success([])
        var situation = KernelUpdateStep.Situation(
            flags: call.flags, hasClientGone: connection.hasEnded || connection.descriptor.hasHungUp,
            isUpdateUnderWay: updates.isUnderWay, preparation: preparation(of: connection),
            carriesMemory: KernelSession.isPossible)
        var lines: [String] = []
        switch losses {
        case .success(let found): lines = found
        case .failure(let error): situation.loss = KernelUpdateRefusal(error.reason, error.errno)
        }
        let step = KernelUpdateStep(situation)
        if step != .prepare, step != .publish, preparation?.connection === connection { preparation = nil }
        switch step {
        case .refuse(let refusal): return refuse(refusal)
        case .forget: return forget()
        case .answer: return answer(lines, request)
        case .publishAtEnd: return publishAtEnd(call, lines, request)
        case .prepare: return prepare(call, connection)
        case .publish:
            log.sayAll(lines.map { "kernel update: goes on without \($0)" })
            return publish(call, answer(lines, request), connection)
        }
    }

    private func answer(_ lines: [String], _ request: Request) -> Reply {
        var reply = Reply(0, body: UpdateCall(text: UpdateCost.text(lines, room: UpdateCost.room)).body)
        reply.response.tag = request.tag
        return reply
    }

    /// The lines about what is lost, or the refusal. Its reason is the text of the answer.
    private func losses(_ call: UpdateCall) -> Result<[String], LiveUpdateError> {
        Result { () throws(LiveUpdateError) in
            let obstacles = try orchestrator.obstacles(
                replacing: replaced(KernelSession.isPossible && !call.isWithoutHolder))
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
    }

    private func refuse(_ refusal: KernelUpdateRefusal) -> Reply {
        log.sayAll(refusal.why.split(separator: "\n").map { "kernel update: \($0)" })
        return Reply(-refusal.errno.rawValue, body: UpdateCall(text: refusal.why).body)
    }

    private func refuse(_ error: LiveUpdateError) -> Reply {
        refuse(KernelUpdateRefusal("\(LuoctlRemedies.adapted(error))", error.errno))
    }

    // MARK: Preparing

    /// Lets a thread give all memory files to the kernel.
    private func prepare(_ call: UpdateCall, _ connection: Connection) -> Reply? {
        do throws(LiveUpdateError) {
            let departure = try KernelDeparture(orchestrator, store, state: state, leavingOut: call.leavesOut)
            let gifts = try departure.gifts()
            let preparation = Preparation(connection, departure)
            let isBegun = longWork.prepare(connection, gifts.preserve) { [log] error in
                log.sayAll(departure.note(gifts).map { "kernel update: goes on without \($0)" })
                preparation.failure = error.map {
                    KernelUpdateRefusal("\(LuoctlRemedies.adapted($0))", $0.errno)
                }
            }
            if isBegun { self.preparation = preparation }
            return nil
        } catch {
            return refuse(error)
        }
    }

    private func preparation(of connection: Connection) -> KernelUpdateStep.Preparation {
        guard let preparation else { return .none }
        guard preparation.connection === connection else {
            return .ofOther(process: preparation.connection.clientID.process)
        }
        return preparation.failure.map { .failed($0) } ?? .done
    }

    /// Closes the kernel's session of a client that has gone. The kernel then unpreserves the files.
    func dropAbandoned() {
        guard let preparation, !connections.contains(preparation.connection) else { return }
        self.preparation = nil
    }

    // MARK: At the end of luod

    /// Notes the flags of a request that an earlier orchestrator has answered.
    func publishAtEnd(_ flags: UInt32) { atEnd = flags }

    private func publishAtEnd(_ call: UpdateCall, _ lines: [String], _ request: Request) -> Reply {
        if let refusal = setAtEnd(call.flags) { return refuse(refusal) }
        log.sayAll(lines.map { "kernel update: goes on without \($0)" })
        log.say("kernel update: the state is published for the next kernel when luod ends")
        return answer(lines, request)
    }

    private func forget() -> Reply {
        let hadRequest = atEnd != 0
        if let refusal = setAtEnd(0) { return refuse(refusal) }
        if hadRequest { log.say("kernel update: called off: nothing is published when luod ends") }
        return Reply(0, body: UpdateCall().body)
    }

    /// Notes the flags, also in the keeper, which gives them to the next orchestrator and starts the holder.
    ///
    /// - Returns: the refusal when the keeper does not get the flags. Then the flags are as before.
    private func setAtEnd(_ flags: UInt32) -> KernelUpdateRefusal? {
        do throws(SystemCallError) {
            try keeper.send(.publishAtEnd(flags: flags))
            atEnd = flags
            return nil
        } catch {
            return KernelUpdateRefusal("luod's keeper does not read: \(error)\nremedy: ask again", error.errno)
        }
    }

    /// Publishes at the end of luod, if a client has asked for it. It is too late to refuse: a file that cannot go is
    /// left out, and without the kernel's orchestrator all memory files are.
    ///
    /// - Returns: whether the state is published. The keeper's holder then has the files of luod.
    func end() -> Bool {
        guard atEnd != 0 else { return false }
        let call = UpdateCall(flags: atEnd | UpdateCall.leaveOut)
        do throws(LiveUpdateError) {
            let departure = call.isWithoutHolder ? nil : departureAtEnd()
            try publish(call, departure)
            log.sayAll(orchestrator.leftOut.map { "kernel update: goes on without \(UpdateCost.line($0))" })
            if let departure { handOver(departure) }
            return true
        } catch {
            log.say("kernel update: nothing was published: \(error)")
            return false
        }
    }

    private func departureAtEnd() -> KernelDeparture? {
        guard KernelSession.isPossible else { return nil }
        do throws(LiveUpdateError) {
            return try KernelDeparture(orchestrator, store, state: state, leavingOut: true)
        } catch {
            log.say("kernel update: memory files do not go to the next kernel: \(error)")
            return nil
        }
    }

    /// Gives the kernel's session to the keeper, because this process ends before the kernel does.
    private func handOver(_ departure: KernelDeparture) {
        do throws(SystemCallError) {
            try keeper.send(.holdUntilEnd(isIncoming: false), [departure.descriptor])
        } catch {
            log.say(
                "kernel update: memory files do not go to the next kernel, because the keeper does not read: \(error)")
        }
    }

    // MARK: Publishing

    private func replaced(_ carriesMemory: Bool) -> Replacement { .kernel(carryingMemory: carriesMemory) }

    /// Publishes, answers, and waits until the update is called off.
    ///
    /// - Returns: a refusal; nil when the answer was sent.
    private func publish(_ call: UpdateCall, _ reply: Reply, _ connection: Connection) -> Reply? {
        let departure = preparation?.departure
        preparation = nil
        do throws(LiveUpdateError) {
            try publish(call, departure)
        } catch {
            return refuse(error)
        }
        replies.send(reply, to: connection)
        log.say("kernel update: luod waits for process \(connection.clientID.process), which starts the next kernel")
        let visitors = withExtendedLifetime(departure) {
            PublishedState(connection, store.descriptor(.rootListener), replies, keeper).wait()
        }
        thaw()
        for visitor in visitors { acceptor.admitRoot(OwnedDescriptor(taking: visitor)) }
        return nil
    }

    /// Publishes the state for the next kernel. If this fails, nothing is published.
    ///
    /// - Parameters:
    ///   - call: the request.
    ///   - departure: the carrier of the memory files; nil when the kernel's orchestrator carries nothing.
    /// - Throws: the errors of ``KernelGifts/preserve()``, of ``KernelDeparture/complete()``, and of a freeze.
    private func publish(_ call: UpdateCall, _ departure: KernelDeparture?) throws(LiveUpdateError) {
        acceptor.admitAll()
        if let departure {
            // All files, or those that clients have added since the thread began.
            let gifts = try departure.gifts()
            try gifts.preserve()
            log.sayAll(departure.note(gifts).map { "kernel update: goes on without \($0)" })
        }
        try orchestrator.publish(
            discardingUnfinished: call.discards, leavingOut: call.leavesOut, replacing: replaced(departure != nil))
        do throws(LiveUpdateError) {
            try departure?.complete()
        } catch {
            thaw()
            throw error
        }
        log.say("kernel update: the state is published for the next kernel")
    }

    private func thaw() {
        do throws(LiveUpdateError) {
            try orchestrator.thaw()
            log.say("kernel update: called off: luod goes on")
        } catch {
            log.say("kernel update: luod cannot go on: \(error)")
        }
    }
}

extension UpdateCall {
    fileprivate var discards: Bool { flags & Self.discard != 0 }
    fileprivate var leavesOut: Bool { flags & Self.leaveOut != 0 }
    fileprivate var isWithoutHolder: Bool { flags & Self.withoutHolder != 0 }
}

// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdateMachine
import LiveUpdatePlatform
import LiveUpdateProtocol
import Logging
import SystemPackage

/// Runs the old image's part of an update: performs the actions that ``OutgoingUpdate`` decides, and reports their
/// results to it. See docs/daemon.md.
final class UpdateRunner {
    private let orchestrator: Orchestrator
    private let connections: ConnectionTable
    private let acceptor: Acceptor
    private let keeper: KeeperLink
    private let replies: ReplySender
    private let subscribers: Subscribers
    private let log: Log
    private var machine = OutgoingUpdate()
    /// The accepted request without an answer.
    private var accepted: Accepted?
    /// Whether the files are being checked, ahead of an update.
    private(set) var isLooking = false
    /// The process of the standby. The descriptor is readable once the process has ended.
    private var standby: FileDescriptor?
    /// The image that waits in standby, or that has died there. ``readyImage`` says when it counts.
    private var loaded: LuodStatus.Ready?
    /// The baton of the last update that was handed over.
    private var baton: CommitBaton?
    /// The blackout when this process took over, in nanoseconds; nil when it took nothing over.
    private(set) var lastBlackout: UInt64?

    private struct Accepted {
        let connection: Connection
        let request: RequestID
        let kind: UpdateRequest.Kind
        /// The time when each phase ended: see ``LiveUpdateProtocol/UpdateCall/times``.
        var times: [UInt64]
        /// A line for each file or session that the update leaves out or loses, and for each subscriber that was not
        /// ready in time.
        var lines: [String] = []
        /// As many of the lines as fit into the answer.
        var cost = ""
    }

    init(
        _ orchestrator: Orchestrator, _ connections: ConnectionTable, _ acceptor: Acceptor, _ keeper: KeeperLink,
        _ replies: ReplySender, _ subscribers: Subscribers, _ log: Log
    ) {
        self.orchestrator = orchestrator
        self.connections = connections
        self.acceptor = acceptor
        self.keeper = keeper
        self.replies = replies
        self.subscribers = subscribers
        self.log = log
    }

    /// The image that a load has made ready, and that no update uses now. It has a failure if it has died since.
    var readyImage: LuodStatus.Ready? { machine.isImageReady || loaded?.failure != nil ? loaded : nil }

    /// Whether a load, an update or a reload is under way.
    var isUnderWay: Bool { machine.request != nil }

    /// Whether long requests must wait. They need not wait while subscribers are asked.
    var forbidsLongWork: Bool { isUnderWay && !subscribers.isAsking }

    // MARK: Requests

    /// - Returns: a refusal; nil when the request may begin.
    func refusal(of request: Request, _ client: Client) -> Reply? {
        noticeDeafKeeper()
        let asked = asked(request, client)
        return (stoppedKeeper ?? machine.refusal(of: asked)).map { reply($0, to: asked.kind, of: asked.client) }
    }

    /// - Returns: a refusal; nil when the request is answered later.
    func begin(_ request: Request, _ client: Client) -> Reply? {
        noticeDeafKeeper()
        let asked = asked(request, client)
        if let stoppedKeeper { return reply(stoppedKeeper, to: asked.kind, of: asked.client) }
        for action in machine.handle(.requested(asked)) {
            switch action {
            case .refuse(let refusal): return reply(refusal, to: asked.kind, of: asked.client)
            case .accept: accept(asked, client.id(request), on: client.connection)
            default: perform(action)
            }
        }
        return nil
    }

    /// The refusal while the keeper is stopped. Without it the update would wait, and begin when its client is gone.
    private var stoppedKeeper: UpdateRefusal? {
        guard keeper.isStopped, let process = keeper.process else { return nil }
        return UpdateRefusal(
            .alone,
            "the keeper (process \(process)) is stopped\nremedy: let it continue (kill -CONT \(process)), or end it "
                + "(kill -KILL \(process)) and start luod on this state")
    }

    private func asked(_ request: Request, _ client: Client) -> UpdateRequest {
        let call = UpdateCall(request.body)
        let isForKeeper = request.call == .reload && call.flags & UpdateCall.keeper != 0
        var asked = UpdateRequest(isForKeeper ? .reloadKeeper : UpdateRequest.Kind(request.call))
        asked.image = call.text
        asked.discards = call.flags & UpdateCall.discard != 0
        asked.leavesOut = call.flags & UpdateCall.leaveOut != 0
        asked.goesOnWithoutReady = call.flags & UpdateCall.withoutReady != 0
        asked.patience = call.times[1] == 0 ? Self.patience : min(call.times[1], Self.longestPatience)
        asked.client = client.connection.updateClient
        asked.sent = call.times[0]
        asked.read = monotonicNanoseconds()
        return asked
    }

    /// How long an update waits for subscribers if its client does not say, in nanoseconds.
    private static let patience: UInt64 = 5_000_000_000
    /// The longest such time: one day.
    private static let longestPatience: UInt64 = 86_400_000_000_000

    private func accept(_ asked: UpdateRequest, _ request: RequestID, on connection: Connection) {
        if machine.isStartingImage { loaded = nil }
        accepted = Accepted(connection: connection, request: request, kind: asked.kind, times: [asked.read])
        replies.wait(connection)
        try? orchestrator.commit(Answer(request, result: -Errno.canceled.rawValue))
    }

    private func answer(_ reply: Reply) {
        guard let accepted else { return }
        self.accepted = nil
        var reply = reply
        reply.response.tag = accepted.request.tag
        replies.send(reply, to: accepted.connection)
    }

    private func reply(
        _ refusal: UpdateRefusal, to kind: UpdateRequest.Kind, of client: UpdateClient,
        as result: Counter.UpdateResult = .refused
    ) -> Reply {
        keeper.count(.update(kind, result))
        log.sayAll(
            refusal.reason.split(separator: "\n").map { "\(kind.name): \($0)" }, .warning, client.fields)
        let text = LuoctlRemedies.explained(refusal.reason, refusal.errno.rawValue)
        return Reply(-refusal.errno.rawValue, body: UpdateCall(text: text).body)
    }

    /// Answers a request for the update or reload with which this process began.
    func answerEarlier(_ what: HandOverKind, _ note: HandOverNote, times: [UInt64]) {
        let answered = monotonicNanoseconds()
        if times.count > 1 { lastBlackout = answered - times[1] }
        let connection = connections.all.first { $0.slot == note.request.connection }
        machine.begin(
            after: EarlierUpdate(what, by: connection?.updateClient, began: times.first ?? answered, ended: answered))
        defer { sayDone(what == .update ? .update : .reload, times + [answered], by: connection?.updateClient) }
        guard let connection else { return }
        var reply = Reply(0, body: UpdateCall(times: times + [answered], text: note.cost).body)
        reply.response.tag = note.request.tag
        replies.send(reply, to: connection)
    }

    /// Writes the line of a load, an update or a reload that was done.
    private func sayDone(_ kind: UpdateRequest.Kind, _ times: [UInt64], by client: UpdateClient?) {
        let phases = UpdatePhases(times: times)
        keeper.count(.update(kind, .done))
        if let blackout = phases.blackout { keeper.count(blackout: blackout) }
        var fields = phases.fields.merging(client?.fields ?? [:]) { $1 }
        fields["updates"] = (try? orchestrator.statusSummary()).map { .number($0.updateNumber) }
        log.say("\(kind.name): done", .notice, fields)
    }

    // MARK: The keeper

    /// Handles a message of the keeper if it belongs to an update.
    ///
    /// - Returns: false for any other message.
    func take(_ received: ControlLink.Received) -> Bool {
        switch received.message {
        case .update(.standby(let formats, let attempt)):
            for descriptor in received.descriptors.dropFirst() { try? closeDescriptor(descriptor) }
            if attempt == machine.attempt { note(formats, received.descriptors.first) }
            if let process = received.descriptors.first { keep(process, isCurrent: attempt == machine.attempt) }
            handle(.standby(Set(formats), attempt: attempt))
        case .update(.prepared(let attempt)): handle(.prepared(attempt: attempt))
        case .keeperReplaced(let attempt): handle(.keeperReplaced(attempt: attempt))
        case .update(.failed(let why, let attempt)):
            if attempt == machine.attempt, machine.isImageReady {
                loaded?.failure = why
                log.say("the loaded image has ended: \(why)", .warning)
            }
            handle(.imageFailed(why, attempt: attempt))
        default: return false
        }
        return true
    }

    /// Notes an image that waits in standby, with a descriptor of its process.
    private func note(_ formats: [String], _ process: FileDescriptor?) {
        loaded = LuodStatus.Ready(
            image: machine.request?.image ?? "", version: ImageVersion.version(in: formats),
            process: process.flatMap { processNumber(inHandle: $0) } ?? 0,
            since: UInt64(clamping: wallClockNanoseconds()))
    }

    private func keep(_ process: FileDescriptor, isCurrent: Bool) {
        guard isCurrent else {
            try? closeDescriptor(process)
            return
        }
        if let old = standby { try? closeDescriptor(old) }
        standby = process
    }

    /// Handles the loss of the keeper, which has ended or was given up.
    func loseKeeper() { handle(.keeperLost) }

    /// Gives up a keeper that does not read.
    func noticeDeafKeeper() {
        guard let why = keeper.deafness else { return }
        log.say("the keeper does not accept descriptors: \(why)", .warning)
        loseKeeper()
    }

    private func tell(_ message: ControlMessage, _ descriptors: [FileDescriptor] = []) {
        guard keeper.isThere else { return handle(.notTold("the keeper died")) }
        do throws(SystemCallError) {
            try keeper.send(message, descriptors)
        } catch {
            handle(.notTold("the keeper does not answer: \(error)"))
        }
    }

    // MARK: Actions

    private func handle(_ event: OutgoingUpdate.Event) {
        for action in machine.handle(event) { perform(action) }
    }

    private func perform(_ action: OutgoingUpdate.Action) {
        switch action {
        case .load(let image, let attempt): tell(.load(image: image, attempt: attempt))
        case .replaceKeeper(let image, let attempt): tell(.replaceKeeper(image: image, attempt: attempt))
        case .callOff(let why, let attempt): try? keeper.send(.update(.failed(why, attempt: attempt)))
        case .readFormats: handle(.formatsInUse(formatsInUse()))
        case .assess:
            isLooking = true
            try? orchestrator.beginLooks()
        case .prepare(let leavesOut, let attempt): prepare(leavesOut, attempt)
        case .checkDraft: handle(.draftChecked(isCurrent: orchestrator.hasCurrentDraft))
        case .ask: ask()
        case .discardDraft: orchestrator.discardDraft()
        case .publish(let discards, let leavesOut): publish(discards, leavesOut)
        case .handOver(let what, let attempt): handOver(what, attempt)
        case .thaw: try? orchestrator.thaw()
        case .takeBaton: handle(.baton(isOurs: baton?.take() ?? true))
        case .endImage: endImage()
        case .exit:
            log.say("the next orchestrator runs: this one ends", .info)
            exitNow(0)
        case .goOnAlone: keeper.giveUp()
        case .succeed:
            let times = timesUntilNow()
            if let accepted { sayDone(accepted.kind, times, by: accepted.connection.updateClient) }
            answer(Reply(0, body: UpdateCall(times: times).body))
        case .fail(let refusal):
            isLooking = false
            orchestrator.discardDraft()
            subscribers.end()
            if let accepted {
                answer(
                    reply(refusal, to: accepted.kind, of: accepted.connection.updateClient, as: .calledOff))
            }
        case .accept, .refuse: break
        }
    }

    private func formatsInUse() -> [String] {
        (try? orchestrator.formatsInUse()).map([String].init) ?? []
    }

    /// Checks several files ahead of an update. Requests are answered between two calls.
    func lookOn() {
        guard isLooking, let request = machine.request else { return }
        let end = monotonicNanoseconds() + Self.slice
        guard (try? orchestrator.look { monotonicNanoseconds() < end }) != false else { return }
        isLooking = false
        handle(.assessed(assess(request.discards, request.leavesOut)))
    }

    /// The time for checking files in one turn of the loop, in nanoseconds. Most files take 2 microseconds each.
    private static let slice: UInt64 = 500_000

    /// Finds the files of all users that cannot be frozen, and the unfinished sessions, before anything is frozen.
    private func assess(_ discards: Bool, _ leavesOut: Bool) -> UpdateRefusal? {
        let obstacles = (try? orchestrator.obstacles()) ?? []
        let discarded = discards ? ((try? orchestrator.unfinishedSessions()) ?? []) : []
        if let first = obstacles.first, !leavesOut {
            return UpdateRefusal(.core(first.errno.rawValue), UpdateCost.refusal(obstacles))
        }
        if !discards, let unfinished = unfinishedRefusal() { return unfinished }
        let lines = obstacles.map(UpdateCost.line) + discarded.flatMap(UpdateCost.lines)
        // The answer has room for only some lines.
        log.sayAll(lines.map { "update: goes on without \($0)" })
        note(lines)
        return nil
    }

    /// Notes lines for the answer, before all others.
    private func note(_ lines: [String]) {
        let all = lines + (accepted?.lines ?? [])
        accepted?.lines = all
        accepted?.cost = UpdateCost.text(all, room: UpdateCost.room)
    }

    private func ask() {
        guard let request = machine.request, subscribers.ask(patience: request.patience) else {
            return handle(.noSubscribers)
        }
    }

    /// Goes on with an update when its subscribers are ready, or when their time has ended. The update first waits for
    /// the end of long work that has begun meanwhile.
    func askOn(_ longWork: LongWorkRunner) {
        subscribers.tellSome()
        guard case .asking = machine.phase, let request = machine.request, subscribers.mayGoOn() else { return }
        guard longWork.isIdle else { return longWork.interrupt() }
        let lines = subscribers.notReady
        guard !lines.isEmpty else { return handle(.asked(nil)) }
        let refusal = UpdateCost.notReady(lines, within: request.patience)
        if request.goesOnWithoutReady {
            log.sayAll(lines.map { "update: goes on without \($0)" })
            note(lines)
        } else if !refusal.reason.contains(lines.last ?? "") {
            // The reason, which is logged, too, has no room for all lines.
            log.sayAll(lines.map { "update: \($0)" })
        }
        handle(.asked(refusal))
    }

    /// The refusal because of unfinished sessions, before any client is asked. Publishing checks them again.
    private func unfinishedRefusal() -> UpdateRefusal? {
        do throws(LiveUpdateError) {
            try orchestrator.checkUnfinished()
            return nil
        } catch {
            return UpdateRefusal(.core(error.errno.rawValue), "\(LuoctlRemedies.adapted(error))")
        }
    }

    private func prepare(_ leavesOut: Bool, _ attempt: UInt32) {
        do throws(LiveUpdateError) {
            tell(.update(.prepare(try orchestrator.draft(leavingOut: leavesOut), attempt: attempt)))
        } catch {
            handle(.notDrafted)
        }
    }

    private func publish(_ discards: Bool, _ leavesOut: Bool) {
        acceptor.admitAll()
        noteTime()
        do throws(LiveUpdateError) {
            try orchestrator.publish(discardingUnfinished: discards, leavingOut: leavesOut)
        } catch {
            return handle(.notPublished(refusal(of: error)))
        }
        if leavesOut { noteLeftOut() }
        handle(.published)
    }

    /// The refusal of an update whose state could not be published. It names all files that cannot be frozen.
    private func refusal(of error: LiveUpdateError) -> UpdateRefusal {
        // The files have changed since the update has looked at them.
        orchestrator.discardDraft()
        let obstacles = (try? orchestrator.obstacles()) ?? []
        let isAboutFiles = obstacles.contains { $0.errno == error.errno }
        return UpdateRefusal(
            .core(error.errno.rawValue),
            isAboutFiles ? UpdateCost.refusal(obstacles) : "\(LuoctlRemedies.adapted(error))")
    }

    /// Notes the files that were left out although they could be frozen when the update has looked at them.
    private func noteLeftOut() {
        let known = accepted?.lines ?? []
        let new = orchestrator.leftOut.filter { file in !known.contains { $0.hasPrefix(UpdateCost.place(file)) } }
        guard !new.isEmpty else { return }
        let lines = new.map(UpdateCost.line)
        log.sayAll(lines.map { "update: goes on without \($0)" })
        note(lines)
    }

    /// Hands over, and waits for the result. If the next image takes over, the keeper ends this process.
    private func handOver(_ what: HandOverKind, _ attempt: UInt32) {
        if what == .reload {
            acceptor.admitAll()
            noteTime()
        }
        noteTime()
        guard let accepted else { return handle(.notTold("no client has asked for it")) }
        let note = HandOverNote(accepted.request, times: accepted.times, cost: accepted.cost)
        do throws(SystemCallError) {
            let baton = try CommitBaton.make()
            self.baton = baton
            tell(.update(.handOver(what, note: note.bytes, attempt: attempt)), [baton.descriptor])
        } catch {
            handle(.notTold("the baton cannot be made: \(error)"))
        }
        while case .handedOver = machine.phase {
            guard let received = keeper.receive() else { return loseKeeper() }
            if !take(received) { keeper.note(received) }
        }
    }

    private func endImage() {
        guard let standby else { return }
        self.standby = nil
        // The process number has no meaning here.
        let process = RunningProcess(-1, handle: OwnedDescriptor(taking: standby))
        process.kill()
        process.waitForEnd()
    }

    private func noteTime() { accepted?.times.append(monotonicNanoseconds()) }

    private func timesUntilNow() -> [UInt64] { (accepted?.times ?? []) + [monotonicNanoseconds()] }
}

extension Connection {
    fileprivate var updateClient: UpdateClient { UpdateClient(user: clientID.user, process: clientID.process) }
}

extension UpdateRequest.Kind {
    fileprivate init(_ call: Call) {
        switch call {
        case .load: self = .load
        case .reload: self = .reload
        default: self = .update
        }
    }
}

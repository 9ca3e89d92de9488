import Handover
import LiveUpdate
import LiveUpdateProtocol
import Platform
import SystemPackage

/// Where an update stands, as the orchestrator that is to be replaced sees it.
struct UpdateState {
    /// Who asked, and for what.
    struct Asked {
        var connection: Connection
        var request: RequestID
        var call: Call
        var discard: Bool
        var leaveOut: Bool
        var times: [UInt64]
        /// A line for each file or session that the update leaves out or loses, for the answer.
        var cost = ""
    }

    var asked: Asked?
    /// The formats that the image knows which is loaded.
    var formats: Set<String>?
    /// Counts the images that were asked for.
    var attempt: UInt32 = 0
    /// Its process: readable once it has ended.
    var standby: FileDescriptor?
    /// How often it was asked to prepare itself for this update.
    var preparations = 0
}

/// The old boot's side of an update and of a reload: see docs/daemon.md.
///
/// 1. The keeper is asked to start the next image, unless it is loaded. Everybody is served meanwhile.
/// 2. Its formats are compared with those in use.
/// 3. Update: what would be published is written already, and the next image prepares itself on it; again, if requests
///    have changed it meanwhile, but not for ever.
/// 4. Everything is frozen and published. From here nobody is served, until the keeper says that it failed, or ends
///    this process, because the next one runs.
///
/// Unhappy: a format is not known, a freeze fails, the image does not start, crashes, hangs or refuses: whoever asked is
/// told why, and everything goes on as before.
extension Server {
    func beginUpdate(_ request: Request, _ client: Client) -> Reply? {
        let call = UpdateCall(request.body)
        noticeDeafKeeper()
        guard update.asked == nil else { return refusal("an update is under way already", .resourceBusy) }
        guard let keeper else {
            return refusal("the keeper died", .socketNotConnected)
        }
        // Bytes that are not UTF-8 get longer in a text, and a message to the keeper has no room for all of them.
        guard call.text.utf8.count < 4096 else {
            return refusal("the path of the image is longer than 4095 bytes: give a shorter one", .fileNameTooLong)
        }
        update.asked = UpdateState.Asked(
            connection: client.connection, request: client.id(request), call: request.call,
            discard: call.flags & UpdateCall.discard != 0, leaveOut: call.flags & UpdateCall.leaveOut != 0,
            times: [monotonicNanoseconds()])
        wait(client.connection)
        // If this process dies from here on, that is what its successor answers.
        try? orchestrator.commit(Answer(client.id(request), result: -Errno.canceled.rawValue))
        if request.call != .load, call.text.isEmpty, update.formats != nil {
            loaded()
            return nil
        }
        update.formats = nil
        do {
            update.attempt &+= 1
            try keeper.send(.load(image: call.text, attempt: update.attempt))
            return nil
        } catch {
            fail("the keeper does not answer: \(error)", .socketNotConnected)
            return nil
        }
    }

    private func refusal(_ why: String, _ errno: Errno) -> Reply {
        for line in why.split(separator: "\n") { log.say("update: \(line)") }
        return Reply(-errno.rawValue, body: UpdateCall(text: why).body)
    }

    /// What the keeper says.
    func readKeeper() throws {
        guard let link = keeper else { return }
        while true {
            let received: ControlLink.Received?
            do throws(SystemCallError) {
                received = try link.receive(.now)
            } catch {
                return
            }
            guard let received else { return loseKeeper() }
            switch received.message {
            case .standby(let formats, update.attempt):
                if let old = update.standby { try? closeDescriptor(old) }
                update.standby = received.descriptors.first
                update.formats = Set(formats)
                loaded()
            case .prepared(update.attempt): prepared()
            case .stored(let isStored): store.isStored = isStored
            case .closing(let user, let count): store.noteKeeperClosing(count, of: user)
            case .room(let room): store.noteKeeperRoom(room)
            case .ending:
                logEnd()
                try? link.send(.stop)
            case .failed(let why, update.attempt):
                update.formats = nil
                fail(why, .notSupported)
            default: for descriptor in received.descriptors { try? closeDescriptor(descriptor) }
            }
        }
    }

    /// Goes on alone, until another keeper takes the place.
    func loseKeeper() {
        log.say("the keeper is gone: serving goes on, updates do not; start luod on this state to take its place")
        if let keeper {
            poller.remove(keeper.descriptor)
            // One that lives on knows then that it is none any more.
            keeper.shutDown()
        }
        store.use(nil)
        keeper = nil
        update.formats = nil
        fail("the keeper died", .socketNotConnected)
    }

    /// It did not read what it was to keep.
    func noticeDeafKeeper() {
        guard let why = store.deafness else { return }
        log.say("the keeper does not take what it is to keep: \(why)")
        loseKeeper()
    }

    private func fail(_ why: String, _ errno: Errno) {
        guard let asked = update.asked else { return }
        update.asked = nil
        orchestrator.discardDraft()
        var reply = refusal(why, errno)
        reply.response.tag = asked.request.tag
        send(reply, to: asked.connection)
    }

    /// The new boot's side: what was asked of the old one.
    func answerUpdate(_ note: HandOverNote, times: [UInt64]) {
        let answered = monotonicNanoseconds()
        if times.count > 1 { blackout = answered - times[1] }
        guard let connection = connections.values.first(where: { $0.slot == note.request.connection }) else { return }
        var reply = Reply(0, body: UpdateCall(times: times + [answered], text: note.cost).body)
        reply.response.tag = note.request.tag
        send(reply, to: connection)
    }

    // MARK: With an image

    private func loaded() {
        guard let asked = update.asked, isKnown() else { return }
        switch asked.call {
        case .load:
            update.asked = nil
            var reply = Reply(0, body: UpdateCall(times: asked.times + [monotonicNanoseconds()]).body)
            reply.response.tag = asked.request.tag
            send(reply, to: asked.connection)
        case .update:
            update.preparations = 0
            if assessCost() { prepare() }
        default:
            admitAll()
            noteTime()
            handOver(.reload)
        }
    }

    /// Finds the files of all users that cannot be frozen, and the unfinished sessions, before anything is frozen. If
    /// the update may not leave files out, it fails here and names all files that cannot be frozen.
    ///
    /// - Returns: whether the update goes on.
    private func assessCost() -> Bool {
        guard let asked = update.asked else { return false }
        let obstacles = (try? orchestrator.obstacles()) ?? []
        guard obstacles.isEmpty || asked.leaveOut else {
            fail(UpdateCost.refusal(obstacles), obstacles[0].errno)
            return false
        }
        let discarded = asked.discard ? ((try? orchestrator.unfinishedSessions()) ?? []) : []
        let lines = obstacles.map(UpdateCost.line) + discarded.flatMap(UpdateCost.lines)
        // The answer has room for some of them.
        for line in lines { log.say("update: goes on without \(line)") }
        update.asked?.cost = UpdateCost.text(lines, room: UpdateCost.room)
        return true
    }

    /// Has the next image do what it can before anything is frozen.
    private func prepare() {
        update.preparations += 1
        do {
            try keeper?.send(
                .prepare(try orchestrator.draft(leavingOut: update.asked?.leaveOut ?? false), attempt: update.attempt))
        } catch {
            // It is quicker with it, and goes without: the arena may be full.
            publish()
        }
    }

    private func prepared() {
        guard update.asked?.call == .update else { return }
        if orchestrator.hasCurrentDraft { return publish() }
        // What was preserved since may be of another format.
        guard isKnown() else { return }
        update.preparations < Self.mostPreparations ? prepare() : publish()
    }

    private static let mostPreparations = 3

    /// Whether the next image knows all formats in use: else it is no longer wanted, and that is said.
    private func isKnown() -> Bool {
        guard let formats = update.formats, let unknown = unknownFormat(formats) else { return true }
        try? keeper?.send(.failed("it does not know \"\(unknown)\"", attempt: update.attempt))
        update.formats = nil
        fail("the image does not know \"\(unknown)\", which is in use", .notSupported)
        return false
    }

    private func noteTime() { update.asked?.times.append(monotonicNanoseconds()) }

    private func unknownFormat(_ formats: Set<String>) -> String? {
        guard let status = try? orchestrator.status() else { return nil }
        let used = status.sessions.flatMap(\.files).map(\.compatible) + status.flbs.map(\.compatible)
        return Set(used).sorted().first { !formats.contains($0) }
    }

    private func publish() {
        admitAll()
        noteTime()
        do throws(LiveUpdateError) {
            try orchestrator.publish(
                discardingUnfinished: update.asked?.discard ?? false, leavingOut: update.asked?.leaveOut ?? false)
        } catch {
            return fail("\(error)", error.errno)
        }
        handOver(.update)
    }

    /// Hands over, and waits for the verdict: this process is ended by the keeper when the next one runs.
    private func handOver(_ what: HandOver) {
        guard var asked = update.asked, let keeper else { return }
        asked.times.append(monotonicNanoseconds())
        update.asked = asked
        let baton: Baton
        do {
            baton = try .make()
            try keeper.send(
                .handOver(what, note: HandOverNote(asked).bytes, attempt: update.attempt), [baton.descriptor])
        } catch {
            return thaw(what, "the keeper does not answer: \(error)")
        }
        while true {
            guard let received = try? keeper.receive(.waiting) else { return loseKeeperInUpdate(what, baton) }
            for descriptor in received.descriptors { try? closeDescriptor(descriptor) }
            if case .failed(let why, update.attempt) = received.message { return thaw(what, why) }
        }
    }

    private func thaw(_ what: HandOver, _ why: String) {
        update.formats = nil
        if what == .update { try? orchestrator.thaw() }
        fail(why, .canceled)
    }

    /// Whether it had switched is for the baton to say. A next image that may not go on any more is ended first: it has the
    /// arena open, and may hang in the middle of what it was doing.
    private func loseKeeperInUpdate(_ what: HandOver, _ baton: Baton) {
        guard baton.take() else {
            log.say("the next orchestrator runs: this one ends")
            exitNow(0)
        }
        if let standby = update.standby {
            update.standby = nil
            // Its number says nothing here.
            let process = RunningProcess(-1, handle: OwnedDescriptor(taking: standby))
            process.kill()
            process.waitForEnd()
        }
        if what == .update { try? orchestrator.thaw() }
        loseKeeper()
    }
}

/// The part of an update's request that the next image needs besides the arena: the client to answer, the times until
/// then, and the cost for the answer.
struct HandOverNote {
    var request: RequestID
    var times: [UInt64]
    /// One line for each file and session that the update left out or lost.
    var cost = ""

    init(_ asked: UpdateState.Asked) {
        request = asked.request
        times = asked.times
        cost = asked.cost
    }

    init?(_ bytes: [UInt8]) {
        var reader = ByteReader(bytes, "note")
        guard let slot: Int64 = try? reader.take(), let tag: UInt64 = try? reader.take(),
            let count: UInt32 = try? reader.take()
        else { return nil }
        request = RequestID(connection: DescriptorSlot(slot), tag: tag)
        times = []
        for _ in 0..<count {
            guard let time: UInt64 = try? reader.take() else { return nil }
            times.append(time)
        }
        cost = (try? reader.takeCountedString()) ?? ""
    }

    var bytes: [UInt8] {
        var writer = ByteWriter(capacity: 64 + cost.utf8.count)
        writer.put(request.connection.number)
        writer.put(request.tag)
        writer.put(UInt32(times.count))
        for time in times { writer.put(time) }
        writer.put(counted: cost)
        return writer.bytes
    }
}

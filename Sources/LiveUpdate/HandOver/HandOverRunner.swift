// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdateMachine
import LiveUpdatePlatform
import SystemPackage

/// The old process's side of a hand-over: performs the actions that ``OutgoingUpdate`` and ``UpdateBroker`` decide, and
/// reports the results to them. In luod, the orchestrator runs ``OutgoingUpdate``, and the keeper runs
/// ``UpdateBroker``.
final class HandOverRunner {
    enum Stage: Equatable {
        /// The image starts or prepares itself, or takes the state over.
        case starting
        /// The image waits for the state.
        case ready
        /// The state is handed over, and the image has not answered.
        case publishing
        /// The image serves, and this boot is over.
        case over
        /// The image is gone, and this boot goes on.
        case failed(LiveUpdateError)
    }

    private(set) var stage = Stage.starting
    private let orchestrator: Orchestrator
    private let arena: Arena
    private let descriptors: InheritedDescriptors
    private let image: ProgramImage
    private let discards: Bool
    private var machine = OutgoingUpdate()
    private var broker: UpdateBroker
    private var next: StartedImage?
    private var baton: CommitBaton?
    private let poller: Poller
    private let timer: DeadlineTimer

    /// The longest time of each step after the image is ready, in milliseconds.
    private static let patience: UInt64 = 5000

    /// How long this process sleeps before it reads the image's answer, in microseconds. Without the pause, the kernel
    /// wakes this process on the image's processor, and the end of this process delays the image's first answers to
    /// clients.
    private static let headStart: UInt32 = 2000

    /// Makes the runner, and starts nothing: see ``begin()``. `discards` says whether unfinished incoming sessions may
    /// be lost. `patience` is the longest time until the image is ready, in milliseconds.
    ///
    /// - Throws: EMFILE.
    init(
        _ orchestrator: Orchestrator, _ arena: Arena, _ descriptors: InheritedDescriptors, _ image: ProgramImage,
        discards: Bool, patience: UInt64
    ) throws(SystemCallError) {
        self.orchestrator = orchestrator
        self.arena = arena
        self.descriptors = descriptors
        self.image = image
        self.discards = discards
        broker = UpdateBroker(patience: Self.patience, startingWithin: patience, in: .oldBoot)
        poller = try Poller()
        timer = try DeadlineTimer()
        try poller.add(timer.descriptor, for: .reading)
    }

    /// Whether the image serves or is gone.
    var isOver: Bool {
        switch stage {
        case .starting, .ready, .publishing: false
        case .over, .failed: true
        }
    }

    /// Readable when ``step(within:)`` has something to do.
    var descriptor: FileDescriptor { poller.descriptor }

    /// The number of the image's process; nil when there is none.
    var process: CInt? { next?.id }

    // MARK: Steps

    /// Starts the image.
    func begin() {
        var request = UpdateRequest(.load)
        request.image = image.path.string
        handle(.requested(request))
        watchDeadline()
    }

    /// Reads the messages of the image, and calls the hand-over off if the image takes too long.
    ///
    /// - Parameter milliseconds: the longest wait for a message; -1 waits until a message comes or a deadline passes.
    func step(within milliseconds: CInt) {
        watchDeadline()
        _ = try? poller.next(milliseconds)
        read()
        if !isOver, let next, next.hasEnded {
            // It may have said something before.
            read()
            if self.next === next, !isOver { noteEnd(next) }
        }
        if let deadline = broker.deadline, LiveUpdatePlatform.milliseconds() >= deadline { overdue() }
        watchDeadline()
    }

    /// Publishes the state, hands it over, and waits for the verdict. The image must be ready.
    func publish() {
        // The image may have ended since.
        read()
        guard stage == .ready else { return }
        stage = .publishing
        do throws(LiveUpdateError) {
            try orchestrator.publish(discardingUnfinished: discards)
        } catch {
            let reason = error.reason + (error.remedy.map { "\nremedy: \($0)" } ?? "")
            return handle(.notPublished(UpdateRefusal(.core(error.errno.rawValue), reason)))
        }
        handle(.published)
        while stage == .publishing { step(within: -1) }
    }

    /// Ends the image.
    func callOff() {
        // A handler's callback cannot call off the hand-over that freezes its files.
        guard stage == .starting || stage == .ready else { return }
        hear(.failed("it is not wanted", attempt: machine.attempt))
        stage = .failed(
            LiveUpdateError(.canceled, "the hand-over to \(image.path) was called off", remedy: "begin another one"))
    }

    private func dismiss() { handle(UpdateBroker.Event.dismissed(attempt: machine.attempt)) }

    private func read() {
        // After its answer the image may close the link, so nothing is read any more.
        while !isOver, let next, let received = next.receive() {
            switch received {
            case .message(.hello(let version, let process)): handle(.greeted(refusal: refusal(version, process, next)))
            case .message(.update(let message)): handle(.said(message))
            case .message, .unknown: handle(.saidOther)
            // The process may still run its last instructions.
            case .ended: return noteEnd(next)
            }
        }
    }

    private func noteEnd(_ ended: StartedImage) {
        let how = ended.end(patience: 1000)
        next = nil
        handle(.ended(how))
    }

    /// The reason why an image that greets so cannot be the next one; nil when it can.
    private func refusal(_ version: UInt32, _ process: CInt, _ next: StartedImage) -> String? {
        if version != ImageMessage.version { return mismatch(version) }
        if process == next.id { return nil }
        return
            "\(image.path) runs as process \(process), and was started as \(next.id): start the program itself, and not "
            + "by another that starts it in a new process"
    }

    private func mismatch(_ version: UInt32) -> String {
        "\(image.path) has version \(version) of the hand-over, and this program has version \(ImageMessage.version): "
            + "update in place with reboot(into:)"
    }

    /// Handles a deadline that has passed. An image that has taken the baton has begun its boot, and its answer is only
    /// late.
    private func overdue() {
        if case .answering = broker.phase, baton?.take() == false {
            return handle(.imageAnswered(attempt: machine.attempt))
        }
        handle(.timePassed)
    }

    private func watchDeadline() { timer.set(to: broker.deadline ?? 0) }

    // MARK: The old boot's actions

    private func handle(_ event: OutgoingUpdate.Event) {
        for action in machine.handle(event) { perform(action) }
    }

    private func perform(_ action: OutgoingUpdate.Action) {
        switch action {
        case .load(let image, let attempt): handle(.wants(.orchestrator, image: image, attempt: attempt))
        case .callOff(_, let attempt): handle(UpdateBroker.Event.dismissed(attempt: attempt))
        case .readFormats: handle(.formatsInUse((try? orchestrator.formatsInUse()).map([String].init) ?? []))
        case .assess:
            look()
            handle(.assessed(obstacle()))
        case .prepare(let leavesOut, let attempt): prepare(leavesOut, attempt)
        // A service has no subscribers, and its program stops its own writers.
        case .ask: handle(.noSubscribers)
        case .checkDraft: handle(.draftChecked(isCurrent: orchestrator.hasCurrentDraft))
        case .discardDraft: orchestrator.discardDraft()
        // The program calls complete() when its writers have stopped. The baton needs no frozen state: it is made now.
        case .publish: getReady()
        case .handOver(let what, let attempt): handOver(what, attempt)
        case .thaw: try? orchestrator.thaw()
        case .exit:
            orchestrator.end()
            stage = .over
        // The image waits.
        case .succeed: update()
        case .fail(let refusal), .refuse(let refusal):
            orchestrator.discardDraft()
            dismiss()
            stage = .failed(LiveUpdateError(refusal))
        // These belong to the clients of luod and to its keeper.
        case .accept, .replaceKeeper, .takeBaton, .endImage, .goOnAlone: break
        }
    }

    private func update() {
        var request = UpdateRequest(.update)
        request.discards = discards
        handle(.requested(request))
    }

    /// Looks at the files ahead of the freeze, some at a time: requests of other threads are answered in between.
    private func look() {
        try? orchestrator.beginLooks()
        var isDone = false
        while !isDone {
            let end = monotonicNanoseconds() + Self.slice
            isDone = (try? orchestrator.look { monotonicNanoseconds() < end }) ?? true
        }
    }

    /// The longest time for which requests of other threads wait, in nanoseconds.
    private static let slice: UInt64 = 500_000

    /// The first file that could not be frozen.
    private func obstacle() -> UpdateRefusal? {
        guard let obstacles = try? orchestrator.obstacles(), let first = obstacles.first else { return nil }
        let more = obstacles.count > 1 ? ", and \(obstacles.count - 1) more" : ""
        return UpdateRefusal(
            .core(first.errno.rawValue),
            "the file with token \(first.token) of session \"\(first.session)\" cannot be frozen\(more): \(first.reason)"
        )
    }

    private func prepare(_ leavesOut: Bool, _ attempt: UInt32) {
        do throws(LiveUpdateError) {
            handle(UpdateBroker.Event.prepare(try orchestrator.draft(leavingOut: leavesOut), attempt: attempt))
        } catch {
            handle(.notDrafted)
        }
    }

    /// Waits for the program, which says when its writers have stopped.
    private func getReady() {
        do throws(SystemCallError) {
            baton = try CommitBaton.make()
            stage = .ready
        } catch {
            handle(.notPublished(UpdateRefusal(.core(error.errno.rawValue), "the baton cannot be made: \(error)")))
        }
    }

    private func handOver(_ what: HandOverKind, _ attempt: UInt32) {
        guard let baton else { return }
        handle(.handOver(what, note: [], attempt: attempt), [baton.descriptor])
    }

    // MARK: The actions between this boot and the image

    private func handle(_ event: UpdateBroker.Event, _ descriptors: [FileDescriptor] = []) {
        for action in broker.handle(event, at: milliseconds()) {
            // The actions after a failed one are not performed.
            if let result = perform(action, descriptors) { return handle(result) }
        }
    }

    /// - Returns: the event that the action causes; nil when there is none.
    private func perform(_ action: UpdateBroker.Action, _ descriptors: [FileDescriptor]) -> UpdateBroker.Event? {
        do throws(SystemCallError) {
            switch action {
            case .start: return start()
            case .feed: try next?.feed(orchestrator.heldSlots)
            case .tellNext(let message): try next?.send(message, descriptors)
            case .tellCurrent(let message): hear(message)
            case .announce(let formats, let attempt): handle(.standby(Set(formats), attempt: attempt))
            case .endNext: endNext()
            case .switchOver:
                try next?.send(.go)
                usleep(Self.headStart)
                return .switched
            case .replaceKeeper: break
            }
            return nil
        } catch {
            // The end of the image is an event of its own.
            return [.brokenPipe, .connectionReset].contains(error.errno)
                ? nil : .unreachable("the image does not take the state: \(error)")
        }
    }

    private func start() -> UpdateBroker.Event? {
        do throws(SystemCallError) {
            let started = try StartedImage(image, arena: arena.descriptor, descriptors)
            next = started
            try poller.add(started.descriptor, for: .reading)
            try poller.add(started.ending, for: .reading)
            return nil
        } catch {
            descriptors.endSending()
            return .startFailed("\(error)")
        }
    }

    private func hear(_ message: UpdateMessage) {
        switch message {
        case .prepared(let attempt): handle(.prepared(attempt: attempt))
        case .answered: handle(.imageAnswered(attempt: machine.attempt))
        // While the program stops, nothing is published yet.
        case .failed(let why, _) where stage == .ready: handle(.notPublished(UpdateRefusal(.image, why)))
        case .failed(let why, let attempt): handle(.imageFailed(why, attempt: attempt))
        default: break
        }
    }

    private func endNext() {
        guard let next else { return }
        poller.remove(next.descriptor)
        poller.remove(next.ending)
        next.end()
        self.next = nil
    }
}

extension LiveUpdateError {
    fileprivate init(_ refusal: UpdateRefusal) {
        let parts = refusal.reason.split(separator: "\nremedy: ", maxSplits: 1).map(String.init)
        let remedy = parts.count > 1 ? parts[1] : "nothing has changed: mend the image, and try again"
        self.init(refusal.errno, parts.first ?? "", remedy: remedy)
    }
}

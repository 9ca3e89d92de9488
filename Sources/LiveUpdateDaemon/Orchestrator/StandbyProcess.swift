// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdateMachine
import LiveUpdatePlatform
import SystemPackage

/// Runs the next image: performs the actions that ``IncomingUpdate`` decides, and reports their results to it.
final class StandbyProcess {
    private let resources: OrchestratorResources
    private let store: DescriptorMirror
    private let keeper: ControlLink
    private let formats: [String]
    private var machine = IncomingUpdate()
    /// The last draft of the tree.
    private var draft: Extent?
    /// The boot that was prepared with the last draft.
    private var prepared: Boot?
    private var takeOver: TakeOver?

    /// An orchestrator on the state that is handed over, and its server.
    private struct Boot {
        let orchestrator: Orchestrator
        let server: Server
    }

    /// The message that handed over the state, and the progress since.
    private struct TakeOver {
        let what: HandOverKind
        let note: HandOverNote?
        let baton: CommitBaton
        var boot: Boot?
        /// The time when the image was ready, and the time when it was told to go.
        var ready: UInt64 = 0
        var switched: UInt64 = 0
    }

    init(_ resources: OrchestratorResources, _ keeper: ControlLink) throws {
        self.resources = resources
        self.keeper = keeper
        store = resources.store
        formats = try Self.knownFormats(resources)
    }

    /// Waits, holding all descriptors that the old orchestrator holds, and takes over when it is told to.
    func run() throws -> Never {
        try handle(.started)
        while true {
            guard let received = try keeper.receive(.waiting) else {
                try handle(.linkLost)
                continue
            }
            // A held descriptor is missing.
            if received.isCut { exitNow(1) }
            try handle(event(of: received))
        }
    }

    private func event(of received: ControlLink.Received) throws -> IncomingUpdate.Event {
        switch received.message {
        case .hold(let slots): store.hold(slots, received.descriptors)
        case .release(let slots): store.drop(slots)
        case .stored(let isStored): store.isStored = isStored
        case .begin(_, let next, _, _):
            store.begin(nextSlot: next)
            return .told
        case .update(.prepare(let draft, _)):
            self.draft = draft
            return .prepare
        case .update(.handOver(let what, let note, _)):
            guard let baton = received.descriptors.first else { return .handOver(what, hasBaton: false) }
            takeOver = TakeOver(
                what: what, note: HandOverNote(note), baton: CommitBaton(OwnedDescriptor(taking: baton)))
            return .handOver(what, hasBaton: true)
        case .update(.go): return .go
        default: break
        }
        return .other
    }

    private func handle(_ event: IncomingUpdate.Event) throws {
        for action in machine.handle(event) { try perform(action) }
    }

    private func perform(_ action: IncomingUpdate.Action) throws {
        switch action {
        case .sayStandby: try keeper.send(.update(.standby(formats: formats + [ImageVersion.ownEntry])))
        case .prepare: prepare()
        case .sayPrepared: try keeper.send(.update(.prepared()))
        case .open(let what, let onPrepared): try handle(open(what, onPrepared))
        case .sayFailed(let why): try keeper.send(.update(.failed(why)))
        case .sayReady:
            takeOver?.ready = monotonicNanoseconds()
            try keeper.send(.update(.ready))
        case .takeBaton: try handle(.baton(isOurs: takeBaton()))
        case .confirm: try takeOver?.boot?.orchestrator.confirm()
        case .resume: try resume()
        // If the keeper has died, the server notices this when it reads the link.
        case .sayAnswered: try? keeper.send(.update(.answered))
        case .serve:
            guard let boot = takeOver?.boot else { exitNow(1) }
            try? boot.orchestrator.finishDiscarded()
            try boot.server.run()
        case .exit: exitNow(1)
        }
    }

    private func prepare() {
        prepared = try? boot(.update)
        guard let draft else { return }
        try? prepared?.orchestrator.prepare(on: draft)
    }

    private func open(_ what: HandOverKind, _ onPrepared: Bool) -> IncomingUpdate.Event {
        do {
            let boot = try (onPrepared ? prepared : nil) ?? boot(what)
            try boot.orchestrator.open(answering: takeOver?.note.map { Answer($0.request) })
            takeOver?.boot = boot
            return .opened
        } catch {
            return .notOpened("\(error)")
        }
    }

    private func boot(_ what: HandOverKind) throws -> Boot {
        let orchestrator = Orchestrator(
            arena: try resources.openArena(resources.settings.arena), descriptors: store,
            opening: what == .update ? .onTrial : .sameBoot)
        return Boot(
            orchestrator: orchestrator,
            server: try resources.makeServer(of: orchestrator))
    }

    private func takeBaton() -> Bool {
        let isOurs = takeOver?.baton.take() ?? false
        takeOver?.switched = monotonicNanoseconds()
        return isOurs
    }

    private func resume() throws {
        guard let takeOver, let boot = takeOver.boot else { exitNow(1) }
        try boot.server.resume()
        if let note = takeOver.note {
            boot.server.answerEarlier(
                takeOver.what, note, times: note.times + [takeOver.ready, takeOver.switched])
        }
    }

    /// The formats of all handlers and FLBs. This registers them with a temporary arena.
    private static func knownFormats(_ resources: OrchestratorResources) throws -> [String] {
        let store = DescriptorMirror(resources.store.closer)
        let orchestrator = Orchestrator(arena: try Arena.make(), descriptors: store)
        try resources.register(on: orchestrator)
        return try orchestrator.knownFormats()
    }
}

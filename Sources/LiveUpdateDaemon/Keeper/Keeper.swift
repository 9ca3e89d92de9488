import Glibc
import LiveUpdate
import Platform
import SystemPackage

/// The keeper's process: it holds one copy of every descriptor that must not die, starts orchestrators and watches them. No
/// policy, and nothing that a client sent.
///
/// 1. It finds or makes the state, or takes the place of a keeper that died: ``Keeper/run(_:_:)``.
/// 2. It starts an orchestrator and gives it all that is kept. What that keeps from then on is kept here, too.
/// 3. An orchestrator that dies is started again, on the same boot.
/// 4. For an update a second one is started, in standby. When it has taken over, the keeper switches: that is the commit. If it
///    does not, it is ended, and the first is told.
public final class Keeper {
    let settings: Settings
    let log = Log("luod keeper")
    let poller: Poller
    var table: KeptTable
    var current: Orchestrating
    var next: Next?
    /// The one before the one that runs, until that has answered.
    var retired: Orchestrating?
    /// The program that is started again.
    var image: KeptImage
    let signals: OwnedDescriptor
    /// Where a service manager keeps all of it, too.
    private var service: ServiceStore?
    private var isServiceBusy = false
    private var restarts = Restarts()
    /// There when a program runs under a filter, or did.
    var gate: GateKeeping?
    var gateRestarts = Restarts()
    /// Whether there is to be one, and none could be started.
    var isGateMissing = false
    /// Whoever started a luod that ends unused has gone, or become its first program.
    var hasLostStarter = false
    private let ready: () -> Void

    /// An image that is to take over.
    struct Next {
        var orchestrating: Orchestrating
        var image: KeptImage
        /// What the orchestrator calls it.
        var attempt: UInt32
        var stage = Stage.loading
        /// What it was told is kept.
        var held: Set<DescriptorSlot> = []
        /// Whether that is not all.
        var isBehind = true
        /// CLOCK_MONOTONIC, in milliseconds.
        var deadline: UInt64

        enum Stage: Equatable {
            /// It starts, then it gets what is kept, then it waits.
            case loading, catchingUp, standby
            case preparing
            case takingOver(HandOver)

            var verb: String {
                switch self {
                case .loading, .catchingUp: "start"
                case .standby: "wait"
                case .preparing: "prepare itself"
                case .takingOver: "take over"
                }
            }
        }
    }

    /// Runs until it is told to end.
    ///
    /// - Parameter ready: is called once the first orchestrator answers.
    public static func run(_ settings: Settings, _ ready: @escaping () -> Void) throws -> Never {
        let passed = PassedDescriptor.takeAll()
        let manager = try ServiceNotifications.take()
        let state: TakenState
        do {
            state = try StateDirectory(settings.state).take(passed)
        } catch let error as SystemCallError {
            throw LiveUpdateError(error, settings.state)
        }
        let keeper = try Keeper(settings, state, manager, ready)
        try keeper.serve()
    }

    private init(
        _ settings: Settings, _ state: consuming TakenState, _ manager: ServiceNotifications?,
        _ ready: @escaping () -> Void
    ) throws {
        self.settings = settings
        self.ready = ready
        poller = try Poller()
        signals = try blockSignals([SIGTERM, SIGINT])
        if settings.isConfined { try Capabilities.keep(only: Sandbox.capabilities + GateProcess.capabilities) }
        image = try .own()
        let running = state.running
        let stored = state.stored
        let stale = state.stale
        service = manager.map { ServiceStore($0, stored: stored, stale: stale) }
        table = state.table
        if let running {
            current = running
        } else {
            current = try Orchestrating(starting: image.executable, Self.arguments(settings))
            try table.handTo(current, stored.isEmpty ? .first : .successor)
        }
        for slot in Set(table.all.map(\.keep.slot) + stored.map(\.slot)) { service?.note(slot) }
        try poller.add(signals.borrowed, for: .reading)
        try watch(current)
        resumeGate()
        if settings.endsUnused { try poller.add(Self.starter, for: .reading) }
        if running != nil { tellReady() }
    }

    private func tellReady() {
        ready()
        service?.ready(process: getpid())
    }

    static func arguments(_ settings: Settings) -> [String] {
        [
            "orchestrator", "--state", settings.state, "--max-arena", "\(settings.arena.limit)", "--max-sessions",
            "\(settings.limits.sessions)", "--max-files", "\(settings.limits.files)", "--max-user-arena",
            "\(settings.limits.arenaBytes)", "--max-user-descriptors", "\(settings.userDescriptors)",
            // What it sends always finds room here.
            "--max-descriptors", "\(max(settings.descriptors - 64, 64))",
        ] + (settings.isConfined ? [] : ["--unconfined"])
            + (settings.kernel.map { ["--as-kernel", $0.rawValue] } ?? [])
            + (settings.endsUnused ? ["--until-unused"] : [])
    }

    func watch(_ orchestrating: Orchestrating) throws {
        try poller.add(orchestrating.link.descriptor, for: .reading)
        try poller.add(orchestrating.process.descriptor, for: .reading)
    }

    func forget(_ orchestrating: Orchestrating) {
        poller.remove(orchestrating.link.descriptor)
        poller.remove(orchestrating.process.descriptor)
    }

    // MARK: Serving

    private func serve() throws -> Never {
        while true {
            let event = try poller.next(timeout)
            if isGateMissing { beginGate() }
            // What is done for one may close what others are of, and give their numbers to new descriptors: the death of one
            // orchestrator would be taken for that of the next.
            if let event { try handle(event.descriptor.rawValue) } else { tellService() }
            if let next, next.stage != .standby, milliseconds() >= next.deadline {
                callOff("the image did not \(next.stage.verb) in time")
            }
        }
    }

    private func handle(_ number: CInt) throws {
        switch number {
        case signals.borrowed.rawValue: stop()
        case Self.starter.rawValue: try loseStarter()
        case current.link.descriptor.rawValue: try readCurrent()
        case current.process.descriptor.rawValue: try replaceDead()
        case gate?.process.process.descriptor.rawValue: replaceDeadGate()
        case next?.orchestrating.link.descriptor.rawValue: try readNext()
        case next?.orchestrating.process.descriptor.rawValue:
            if let next { callOff("the image ended: \(next.orchestrating.end())") }
        default: break
        }
    }

    private var timeout: CInt {
        guard let next, next.stage != .standby else {
            guard let service, service.isBehind else { return isGateMissing ? 100 : -1 }
            return isServiceBusy ? 10 : 0
        }
        let now = milliseconds()
        return next.deadline > now ? CInt(next.deadline - now) : 0
    }

    /// When there is nothing else to do, and not in a blackout.
    private func tellService() {
        guard next == nil || next?.stage == .standby, let service, service.isBehind else { return }
        do throws(SystemCallError) {
            isServiceBusy = try !service.catchUp(with: table)
        } catch {
            log.say("the service manager does not keep what is kept here any more: \(error)")
            self.service = nil
        }
    }

    /// The state ends with its processes, unless a service manager keeps it: files that have a name stay.
    func stop() -> Never {
        sayWhoIsLeft()
        if let next { next.orchestrating.end() }
        gate?.process.end(within: StateDirectory.patience)
        endRetired()
        current.end()
        if let service {
            try? readCurrent()
            service.stop(table)
        }
        if settings.endsUnused { StateDirectory(settings.state).remove() }
        exitNow(0)
    }

    /// Their calls are nobody's from now on, for ever: the kernel says ENOSYS when the last copy of a listener is closed.
    private func sayWhoIsLeft() {
        let left = table.all.count { $0.keep.kind == .program && !$0.descriptor.hasHungUp }
        guard left > 0, service == nil else { return }
        log.say("programs of \(left) luoctl run are left without a device: they can open nothing any more")
    }

    /// Everything that it says, also what it said before it died.
    func readCurrent() throws {
        while true {
            let received: ControlLink.Received?
            do throws(SystemCallError) {
                received = try current.link.receive(.now)
            } catch {
                return
            }
            guard let received else { return loseLink() }
            switch received.message {
            case .keep(let keep):
                guard let descriptor = received.descriptors.first else { break }
                table.keep(keep, descriptor)
                service?.note(keep.slot)
                tellNext(.hold([keep]), [descriptor]) { $0.insert(keep.slot) }
                if keep.kind == .program { serve(keep, descriptor) }
            case .release(let slots):
                table.release(slots)
                for slot in slots { service?.note(slot) }
                tellNext(.release(slots), []) { $0.subtract(slots) }
                endIfUnused()
            case .ready: tellReady()
            case .answered: endRetired()
            case .load(let image, let attempt): load(image, attempt)
            case .prepare(let draft, let attempt): prepare(draft, attempt)
            case .handOver(let what, let note, let attempt):
                handOver(what, note, attempt, received.descriptors)
                for descriptor in received.descriptors { try? closeDescriptor(descriptor) }
            case .failed(let why, let attempt): if next?.attempt == attempt { callOff(why, silently: true) }
            default: for descriptor in received.descriptors { try? closeDescriptor(descriptor) }
            }
        }
    }

    /// The end of the link: it has died, as its process's descriptor says next; or it has given up this keeper, which did not
    /// read for a second, and goes on alone until another one takes the place.
    private func loseLink() {
        poller.remove(current.link.descriptor)
        guard !current.process.waitForEnd(10_000) else { return }
        log.say(
            "the orchestrator goes on without this keeper, which did not read: start luod again, which takes the place")
        exitNow(1)
    }

    private func replaceDead() throws {
        try readCurrent()
        endRetired()
        forget(current)
        let how = current.reap()
        log.say("the orchestrator ended (\(how)): it is started again")
        // After a reload there is nothing to be taken back: what was true before it is the boot before this one.
        let wasInUpdate = next?.stage == .takingOver(.update)
        if let next {
            // Before another one touches the arena.
            forget(next.orchestrating)
            next.orchestrating.end()
            self.next = nil
        }
        restarts.wait()
        let role = wasInUpdate ? ControlMessage.Role.successorInUpdate : .successor
        while true {
            do {
                current = try startSuccessor(role, after: how)
                return
            } catch {
                log.say("no orchestrator could be started, which is tried again: \(error)")
                pause()
            }
        }
    }

    /// - Throws: what keeps it from being started, or from reading what is kept: nothing of it is left then.
    private func startSuccessor(_ role: ControlMessage.Role, after how: String) throws -> Orchestrating {
        let started = try Orchestrating(starting: image.executable, Self.arguments(settings))
        do {
            try table.handTo(started, role, after: "the orchestrator ended (\(how))")
            try watch(started)
            return started
        } catch {
            forget(started)
            started.end()
            throw error
        }
    }

    /// A moment, in which it can still be told to end.
    private func pause() { if signals.borrowed.isReadable(within: 100) { exitNow(0) } }
}

extension KeptTable {
    /// Gives an orchestrator all that is kept.
    func handTo(_ orchestrating: Orchestrating, _ role: ControlMessage.Role, after: String = "") throws {
        // Nothing else is to be done before it runs, however slowly it starts.
        let patience = 30_000
        do throws(SystemCallError) {
            try orchestrating.link.send(holding: all, patience: patience)
            try orchestrating.link.send(.begin(role, nextSlot: nextSlot, after: after), patience: patience)
        } catch {
            // One that died already is seen next.
            guard [.brokenPipe, .connectionReset].contains(error.errno) else { throw error }
        }
    }
}

/// One that dies again and again is not started in a tight loop.
struct Restarts {
    private var last: UInt64 = 0
    private var quick = 0

    mutating func wait() {
        let now = milliseconds()
        quick = now - last < 1000 ? quick + 1 : 0
        if quick > 5 { usleep(100_000) }
        last = milliseconds()
    }
}

func milliseconds() -> UInt64 { monotonicNanoseconds() / 1_000_000 }

import Glibc
import LiveUpdate
import LiveUpdateMachine
import Platform
import SystemPackage

/// The keeper's process: it holds one copy of every descriptor that must not die, starts orchestrators and watches them. No
/// policy, and nothing that a client sent.
///
/// 1. It finds or makes the state, or takes the place of a keeper that died: ``KeeperProcess/run(_:_:)``.
/// 2. It starts an orchestrator and gives it all that is kept. What that keeps from then on is kept here, too.
/// 3. An orchestrator that dies is started again, on the same boot.
/// 4. For an update a second one is started, in standby. When it has taken over, the keeper switches: that is the commit. If it
///    does not, it is ended, and the first is told.
public final class KeeperProcess {
    let settings: Settings
    let log = Log("luod keeper")
    let children: ChildPoller
    var table: DescriptorVault
    let orchestrator: OrchestratorSupervisor
    private(set) lazy var updates = NextImageSupervisor(self)
    let signals: OwnedDescriptor
    /// Where a service manager keeps all of it, too.
    private var service: ServiceManagerStore?
    private var isServiceBusy = false
    /// Whether luod has said that it is ready.
    private var isReadySaid = false
    var shortage = KeeperShortage()
    /// Whether a message was cut, which is said once.
    private var isCutSaid = false
    /// Whether luod was told to end.
    private var isEnding = false
    /// Whether the orchestrator has logged the sessions and files that end.
    private var isEndLogged = false
    let gate: GateSupervisor
    /// Whoever started a luod that ends unused has gone, or become its first program.
    var hasLostStarter = false
    private let ready: () -> Void

    /// Runs until it is told to end.
    ///
    /// - Parameter ready: is called once the first orchestrator answers.
    /// - Throws: StartFailure, also when the first orchestrator cannot begin and nothing is held.
    public static func run(_ settings: Settings, _ ready: @escaping () -> Void) throws -> Never {
        let passed = PassedDescriptor.takeAll()
        // Before anything else is opened. Without reserved numbers a client's file can delay the start of a process.
        try? SpawnNumbers.reserve()
        let manager = serviceManager()
        let directory = StateDirectory(settings.state)
        do {
            let keeper = try KeeperProcess(settings, try directory.take(passed, settings), manager, ready)
            try keeper.serve()
        } catch {
            let failure = StartFailure(error, on: directory)
            // A service manager that does not start luod again lets go of what it has stored.
            let holdsFiles = passed.contains { Keep(storedName: $0.name)?.kind.isOfState == false }
            throw holdsFiles ? StartFailure(.other, failure.description) : failure
        }
    }

    /// The service manager that started luod; nil without one. Its variables are removed from the environment: a
    /// process that luod starts would speak for luod.
    private static func serviceManager() -> ServiceNotifications? {
        for name in ["WATCHDOG_PID", "WATCHDOG_USEC"] { takeEnvironmentVariable(name) }
        let path = environmentVariable("NOTIFY_SOCKET") ?? ""
        do {
            return try ServiceNotifications.take()
        } catch {
            Log("luod keeper").say("NOTIFY_SOCKET is ignored, because no service manager reads \(path): \(error)")
            return nil
        }
    }

    init(
        _ settings: Settings, _ state: consuming TakenState, _ manager: ServiceNotifications?,
        _ ready: @escaping () -> Void
    ) throws {
        var settings = settings
        if let mode = state.table.clientSocketMode { settings.socketMode = mode }
        self.settings = settings
        self.ready = ready
        children = try ChildPoller(state.replaced?.unreaped ?? [])
        gate = GateSupervisor(settings, children, log)
        signals = try blockSignals([SIGTERM, SIGINT])
        if settings.isConfined { try Capabilities.keep(only: Sandbox.capabilities + GateProcess.capabilities) }
        // After the rights are given up, because a thread keeps the rights that it begins with.
        let closer = try Closer(threads: Self.closingThreads)
        for one in state.unwanted { closer.close(one.descriptor, of: Keep(storedName: one.name)?.label.user ?? 0) }
        let replaced = state.replaced
        let image =
            try replaced.map { KeptImage($0.image, OwnedDescriptor(taking: FileDescriptor(rawValue: $0.imageFile))) }
            ?? .own()
        let running = state.running
        let stored = state.stored
        let stale = state.stale
        let manager =
            replaced.map { $0.service.map { ServiceNotifications(taking: FileDescriptor(rawValue: $0.socket)) } }
            ?? manager
        service = manager.map { ServiceManagerStore($0, stored: stored, stale: stale) }
        table = state.table
        table.closer = closer
        guard let memory = table.descriptor(.memory) else { throw SystemCallError("mmap", .badFileDescriptor) }
        orchestrator = try OrchestratorSupervisor(
            running, image, memory: try ControlMemory(memory), settings, children, log)
        if running == nil {
            let role = stored.isEmpty ? ControlMessage.Role.first : .restored
            try table.handTo(current, .begin(role, nextSlot: table.nextSlot), isStored: manager != nil)
        }
        for slot in Set(table.all.map(\.keep.slot) + stored.map(\.slot)) { service?.note(slot) }
        try children.add(signals.borrowed)
        try children.watch(current)
        if let replaced { try take(replaced) }
        gate.resume(programs, image.executable)
        if settings.endsUnused, !hasLostStarter { try children.add(Self.starter) }
        if running != nil {
            try? current.link.send(.stored(service != nil))
            tellReady()
        }
    }

    /// Takes what the program before this one has left besides descriptors and the orchestrator.
    private func take(_ replaced: KeeperState) throws {
        isReadySaid = true
        hasLostStarter = replaced.hasLostStarter
        if let found = replaced.gate { try gate.take(found) }
    }

    /// The programs that run under a filter.
    private var programs: [GateSupervisor.Program] { table.all.filter { $0.keep.kind == .program } }

    /// All that the next program of the keeper needs.
    func handedState(_ attempt: UInt32) -> KeeperState {
        KeeperState(
            settings: settings, nextSlot: table.nextSlot,
            entries: table.all.map { KeeperState.Entry(keep: $0.keep, number: $0.descriptor.rawValue) },
            orchestrator: current.handed, image: image.path, imageFile: image.file.borrowed.rawValue, gate: gate.handed,
            service: service?.handed, hasLostStarter: hasLostStarter, unreaped: children.processes, attempt: attempt)
    }

    /// The orchestrator that runs.
    var current: Orchestrating { orchestrator.current }

    /// The program of orchestrators and gates.
    private var image: KeptImage { orchestrator.image }

    /// The next image is the orchestrator that runs from now on.
    func noteSwitch(to next: NextImage) {
        orchestrator.switchTo(next)
        shortage.beginAgain()
    }

    private func tellReady() {
        orchestrator.noteBegin()
        guard !isReadySaid else { return }
        isReadySaid = true
        ready()
        service?.ready(process: getpid())
    }

    // MARK: Serving

    func serve() throws -> Never {
        var nextLook: UInt64 = 0
        while true {
            let event = try children.next(timeout)
            gate.turn(all: programs, image.executable)
            orchestrator.tick(waitsForKeeper: updates.isTakingOver)
            lookAtShortage()
            log.sayOmissions()
            // What is done for one may close what others are of, and give their numbers to new descriptors: the death of one
            // orchestrator would be taken for that of the next.
            if let event { try handle(event) } else { tellService() }
            // Not while an image prepares itself or takes over, which is to be quick, and ends by itself.
            if milliseconds() >= nextLook, updates.isQuiet {
                nextLook = milliseconds() + Self.lookInterval
                try replaceSilentlyEnded()
            }
            updates.turn()
        }
    }

    private func handle(_ number: CInt) throws {
        switch number {
        case signals.borrowed.rawValue: stop()
        case Self.starter.rawValue: try loseStarter()
        case current.link.descriptor.rawValue: try readCurrent()
        case current.ending.rawValue: try replaceDead()
        default:
            if !updates.take(number), gate.isEnding(number) { replaceDeadGate() }
        }
    }

    private func replaceDeadGate() { gate.replaceDead(all: programs, image.executable) }

    /// How many threads close descriptors: one for root, and the others for as many other users.
    private static let closingThreads = 8

    /// How often the keeper looks for processes that have ended without an event, in milliseconds.
    private static let lookInterval: UInt64 = 250

    /// Replaces processes that have ended without an event: one of their threads waits in the kernel for a file system.
    private func replaceSilentlyEnded() throws {
        if current.process.hasEnded { return try replaceDead() }
        if gate.hasEnded { replaceDeadGate() }
        updates.noteSilentEnd()
        children.reapRest()
    }

    /// How long the loop may wait, in milliseconds.
    private var timeout: CInt {
        let now = milliseconds()
        var waits = [Self.lookInterval]
        func wait(until time: UInt64) { waits.append(time > now ? time - now : 0) }
        if let deadline = updates.deadline {
            wait(until: deadline)
        } else if let service, service.isBehind {
            waits.append(isServiceBusy ? 10 : 0)
        }
        if let turn = gate.nextTurn(after: now) { wait(until: turn) }
        if shortage.isUnderWay { waits.append(10) }
        return waits.min().map { CInt(clamping: $0) } ?? 0
    }

    /// Whether a service manager stores the held descriptors.
    var isStored: Bool { service != nil }

    /// When there is nothing else to do, and not in a blackout.
    private func tellService() {
        guard updates.isQuiet, let service, service.isBehind else { return }
        do throws(SystemCallError) {
            isServiceBusy = try !service.catchUp(with: table)
        } catch {
            log.say("the service manager no longer stores the descriptors of luod: \(error)")
            self.service = nil
            try? current.link.send(.stored(false))
            updates.tell(.stored(false))
        }
    }

    // MARK: Ending

    /// Ends luod, and with it the files that no service manager stores. Files with a name stay.
    ///
    /// - Parameter isLogged: whether the orchestrator has logged the sessions and files that end.
    func stop(isLogged: Bool = false) -> Never {
        isEnding = true
        sayWhoIsLeft()
        updates.end()
        if !isLogged { haveEndLogged() }
        gate.end()
        orchestrator.end()
        if let service {
            try? readCurrent()
            service.stop(table)
        }
        if settings.endsUnused { StateDirectory(settings.state).remove() }
        // The next luod can begin, however long this process takes to close what clients sent. What a service manager holds
        // goes on.
        if service == nil { table.endState() }
        exitNow(0)
    }

    /// Has the orchestrator log the sessions and files that end, which the keeper does not know.
    private func haveEndLogged() {
        guard (try? current.link.send(.ending, patience: 100)) != nil else { return }
        let deadline = milliseconds() + Self.patienceWithEnd
        while !isEndLogged, !current.link.descriptor.hasHungUp {
            let now = milliseconds()
            guard now < deadline, current.link.descriptor.isReadable(within: CInt(deadline - now)) else {
                return log.say("the orchestrator does not answer: the log cannot name the sessions and files that end")
            }
            try? readCurrent()
        }
    }

    /// How long the orchestrator may take for that, in milliseconds.
    private static let patienceWithEnd: UInt64 = 1000

    /// Their calls are nobody's from now on, for ever: the kernel says ENOSYS when the last copy of a listener is closed.
    private func sayWhoIsLeft() {
        let left = table.all.count { $0.keep.kind == .program && !$0.descriptor.hasHungUp }
        guard left > 0, service == nil else { return }
        log.say("programs of \(left) luoctl run are left without a device: they can open nothing any more")
    }

    /// Everything that it says, also what it said before it died.
    ///
    /// - Parameter inReserve: whether the keeper's own descriptors may be used up for it.
    func readCurrent(inReserve: Bool = false) throws {
        while true {
            guard canRead || inReserve || isEnding else { return pauseReading() }
            let received: ControlLink.Received?
            do throws(SystemCallError) {
                received = try current.link.receive(.now)
            } catch {
                return
            }
            guard let received else { return isEnding ? () : loseLink() }
            switch received.message {
            case .hello(let version) where !version.isOwn:
                try refuse(StartFailure(.unavailable, version.mismatch(of: image.path)))
            case .keep(let keep):
                guard let descriptor = received.descriptors.first else {
                    noteCut()
                    break
                }
                for other in received.descriptors.dropFirst() { table.close(other, of: keep.label.user) }
                table.keep(keep, descriptor)
                service?.note(keep.slot)
                updates.tell(.hold([keep]), [descriptor])
                if keep.kind == .program { gate.serve((keep, descriptor), all: programs, image.executable) }
                reportClosing(of: CollectionOfOne(keep.label.user))
            case .release(let slots):
                gate.forget(slots)
                reportClosing(of: table.release(slots))
                for slot in slots { service?.note(slot) }
                updates.tell(.release(slots))
                endIfUnused()
            case .ready: tellReady()
            case .cannotBegin(let failure): try refuse(failure)
            case .refuses(let failure):
                log.say(
                    "no orchestrator can begin, and what is held stays held: \(failure); clients get EIO until a luod takes "
                        + "over that can read the state (luoctl reload IMAGE)")
                tellReady()
            case .stop where isEnding: isEndLogged = true
            case .stop: stop(isLogged: true)
            case .answered: orchestrator.endRetired()
            case .load(let path, let attempt):
                updates.handle(.wants(.orchestrator, image: path.isEmpty ? image.path : path, attempt: attempt))
            case .replaceKeeper(let path, let attempt):
                updates.handle(.wants(.keeper, image: path.isEmpty ? ownExecutable() : path, attempt: attempt))
            case .prepare(let draft, let attempt): updates.handle(.prepare(draft, attempt: attempt))
            case .handOver(let what, let note, let attempt):
                updates.handle(.handOver(what, note: note, attempt: attempt), received.descriptors)
                for descriptor in received.descriptors { try? closeDescriptor(descriptor) }
            case .failed(_, let attempt): updates.handle(.dismissed(attempt: attempt))
            default: for descriptor in received.descriptors { table.close(descriptor, of: .max) }
            }
        }
    }

    /// A shortage of descriptors is no fault of the orchestrator's.
    private func noteCut() {
        if !isCutSaid { log.say("a descriptor could not be kept, because the limit on open files is reached") }
        isCutSaid = true
    }

    /// Ends luod when its orchestrator cannot begin and nothing is held. Otherwise luod goes on, because its end would lose
    /// the held files, and another orchestrator is started.
    private func refuse(_ failure: StartFailure) throws {
        guard table.holdsOnlyState else { return log.say("no orchestrator can begin: \(failure)") }
        children.end(current)
        if settings.endsUnused { StateDirectory(settings.state).remove() }
        throw failure
    }

    /// The end of the link: it has died, as its process's descriptor says next; or it has given up this keeper, which did not
    /// read for a second, and goes on alone until another one takes the place.
    private func loseLink() {
        children.remove(current.link.descriptor)
        guard !current.process.waitForEnd(10_000) else { return }
        log.say(
            "the orchestrator goes on without this keeper, which did not read: start luod again, which takes the place")
        exitNow(1)
    }

    private func replaceDead() throws {
        try readRest()
        shortage.beginAgain()
        let death = orchestrator.noteDeath { slot in table.entry(slot)?.keep.label.charged }
        if let refusal = death.refusal { try endIfNothingIsHeld(refusal) }
        let waits = death.pause == 0 ? "" : ", and waits \(death.pause) ms before it serves"
        log.say("the orchestrator ended (\(death.how)): another is started\(waits)")
        // After a reload there is nothing to be taken back: what was true before it is the boot before this one.
        let wasInUpdate = updates.isEndingBoot
        updates.handle(.orchestratorDied)
        let role: ControlMessage.Role =
            death.refusal != nil ? .refusing : wasInUpdate ? .successorInUpdate : .successor
        let after = death.refusal.map { "\(settings.state): \($0)" } ?? "the orchestrator ended (\(death.how))"
        let begin = ControlMessage.begin(role, nextSlot: table.nextSlot, after: after, pause: death.pause)
        var isLogged = false
        while true {
            do {
                return try orchestrator.startNext(begin, table, isStored: isStored)
            } catch {
                if !isLogged { log.say("no orchestrator could be started: \(error); luod tries again") }
                isLogged = true
                waitForRetry()
            }
        }
    }

    /// - Throws: StartFailure while nothing is held: orchestrators that die at their start would be started for ever.
    private func endIfNothingIsHeld(_ why: String) throws {
        guard table.holdsOnlyState else { return }
        throw StartFailure(
            .unavailable,
            "\(settings.state): \(why); raise the limits on memory and processes, or report a bug if they are not the cause"
        )
    }

    /// A moment, in which it can still be told to end.
    func waitForRetry(_ milliseconds: CInt = 100) {
        if signals.borrowed.isReadable(within: milliseconds) { stop(isLogged: true) }
    }
}

extension DescriptorVault {
    /// Hands an orchestrator all held descriptors, and has it begin.
    func handTo(_ orchestrating: Orchestrating, _ begin: ControlMessage, isStored: Bool) throws {
        // Nothing else is to be done before it runs, however slowly it starts.
        let patience = 30_000
        do throws(SystemCallError) {
            try orchestrating.link.send(.stored(isStored), patience: patience)
            try orchestrating.link.send(holding: all, patience: patience)
            try orchestrating.link.send(begin, patience: patience)
        } catch {
            // One that died already is seen next.
            guard [.brokenPipe, .connectionReset].contains(error.errno) else { throw error }
        }
    }
}

func milliseconds() -> UInt64 { monotonicNanoseconds() / 1_000_000 }

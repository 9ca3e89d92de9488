// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdateMachine
import LiveUpdatePlatform
import Logging
import SystemPackage

/// The keeper's process. It holds one copy of every descriptor that must not be lost, and starts and watches the
/// orchestrators. It leaves all decisions about clients to them, and reads nothing that a client sent.
///
/// 1. It finds or makes the state, or replaces a dead keeper: ``KeeperProcess/run(_:_:)``.
/// 2. It starts an orchestrator and gives it all held descriptors. From then on it also holds the descriptors that the
///    orchestrator adds.
/// 3. When the orchestrator dies, it starts another one on the same boot.
/// 4. For an update, it starts a second orchestrator as the standby. When the standby has taken over, the keeper
///    switches to it: this is the commit. If the standby fails, the keeper ends it and tells the first orchestrator.
///
/// This is the event loop. The parts in ``KeeperRooms`` do the work.
package final class KeeperProcess {
    private let rooms: KeeperRooms
    private let children: ChildPoller
    private let signals: OwnedDescriptor
    private let updates: NextImageSupervisor
    private let ending: KeeperEnding
    private let reader: OrchestratorReader
    private let stateWatch: StateWatch

    /// The time between two looks for processes that have ended without an event, in milliseconds.
    private static let lookInterval: UInt64 = 250

    /// The nice value of a luod that root has started with the default value.
    private static let niceOfRoot: CInt = -10

    /// Runs until luod is told to end.
    ///
    /// - Parameters:
    ///   - settings: the settings of luod.
    ///   - ready: called once the first orchestrator answers.
    /// - Throws: StartFailure, also when the first orchestrator cannot begin and nothing is held.
    package static func run(_ settings: Settings, _ ready: @escaping () -> Void) throws -> Never {
        // Users with many busy programs would otherwise delay the answers to all other users. Threads inherit the
        // priority, and no thread has been started yet.
        if geteuid() == 0 { Priority.raise(nice: Self.niceOfRoot) }
        let passed = PassedDescriptor.takeAll()
        // This must come before any other open. Without reserved numbers a client's file can delay the start of a
        // process.
        try? SpawnNumbers.reserve()
        let manager = serviceManager()
        let directory = StateDirectory(settings.state)
        do {
            let keeper = try KeeperProcess(settings, try directory.take(passed, settings), manager, ready)
            try keeper.serve()
        } catch {
            let failure = StartFailure(error, on: directory)
            // A service manager that does not start luod again would release the stored descriptors. `other` lets it
            // start luod again.
            let holdsFiles = passed.contains { HeldSlot(storedName: $0.name)?.kind.isOfState == false }
            throw holdsFiles ? StartFailure(.other, failure.description) : failure
        }
    }

    /// The service manager that started luod; nil without one. This removes its variables from the environment, because
    /// a process that luod starts could otherwise speak for luod.
    private static func serviceManager() -> ServiceNotifications? {
        for name in ["WATCHDOG_PID", "WATCHDOG_USEC"] { takeEnvironmentVariable(name) }
        let path = environmentVariable("NOTIFY_SOCKET") ?? ""
        do {
            return try ServiceNotifications.take()
        } catch {
            Log("luod-keeper").say(
                "NOTIFY_SOCKET is ignored, because no service manager reads \(path): \(error)", .warning)
            return nil
        }
    }

    /// Makes the parts of the keeper, and starts an orchestrator unless one runs already.
    init(
        _ settings: Settings, _ state: TakenState, _ manager: ServiceNotifications?, _ ready: @escaping () -> Void
    ) throws {
        children = try ChildPoller(state.replaced?.unreaped ?? [])
        // Signals must be blocked before any thread begins.
        signals = try blockSignals([SIGTERM, SIGINT] + (isIgnored(SIGHUP) ? [] : [SIGHUP]))
        try children.add(signals.borrowed)
        rooms = try KeeperRooms(settings, state, manager, children, Log("luod-keeper"))
        updates = NextImageSupervisor(rooms)
        stateWatch = StateWatch(rooms)
        ending = KeeperEnding(
            rooms, updates, signals: signals.borrowed, publication: state.replaced?.publication ?? 0)
        reader = OrchestratorReader(rooms, updates, ending, isReadySaid: state.replaced != nil, ready)
        try rooms.begin(state)
        if state.running != nil { reader.noteReady() }
    }

    // MARK: Serving

    /// Runs the event loop. `message` is the first message to the orchestrator.
    func serve(announcing message: ControlMessage? = nil) throws -> Never {
        if let message { try? rooms.orchestrator.current.link.send(message) }
        var nextLook: UInt64 = 0
        while true {
            let event = try children.next(timeout)
            rooms.gate.handleDeadlines()
            rooms.orchestrator.tick(waitsForKeeper: updates.isTakingOver)
            rooms.shortage.look(hasHandedOver: updates.isTakingOver)
            rooms.log.sayOmissions()
            // This handles one event at a time. Its consequences may close the descriptors of other events and reuse
            // their numbers for new descriptors. The death of one orchestrator could then be mistaken for the death of
            // the next.
            if let event { try handle(event) } else { tellService() }
            // This waits while an image prepares or takes over, which must be quick and ends by itself.
            if milliseconds() >= nextLook, updates.isQuiet {
                nextLook = milliseconds() + Self.lookInterval
                try replaceSilentlyEnded()
                lookAtState()
            }
            updates.handleDeadlines()
            if let replacement = updates.takeReplacement() {
                KeeperReplacement(rooms: rooms, updates: updates, ending: ending, reader: reader).perform(replacement)
            }
        }
    }

    private func handle(_ number: CInt) throws {
        let current = rooms.orchestrator.current
        switch number {
        case signals.borrowed.rawValue: ending.end(reading: reader)
        case current.link.descriptor.rawValue: try reader.readAll()
        case current.ending.rawValue: try replaceDead()
        default:
            if rooms.starter.isEnding(number) { return try loseStarter() }
            if !updates.take(number), rooms.gate.isEnding(number) { rooms.gate.replaceDead() }
        }
    }

    private func loseStarter() throws {
        rooms.starter.noteEnd()
        // The orchestrator may already have reported that it serves the starter's program.
        try reader.readAll()
        if rooms.starter.isUnused(rooms.vault) { ending.end(reading: reader) }
    }

    /// Replaces processes that have ended without an event, because one of their threads waits in the kernel for a file
    /// system.
    private func replaceSilentlyEnded() throws {
        if rooms.orchestrator.current.process.hasEnded { return try replaceDead() }
        if rooms.gate.hasEnded { rooms.gate.replaceDead() }
        updates.noteSilentEnd()
        children.reapRest()
    }

    /// Looks at the names of the state, unless luod ends.
    private func lookAtState() {
        guard !ending.isUnderWay else { return }
        stateWatch.look { message, descriptors in
            // If the orchestrator has died, that is an event of its own, and the next one gets the socket.
            try? rooms.orchestrator.current.link.send(message, descriptors)
            updates.tell(message, descriptors)
        }
    }

    /// The longest time that the loop may wait, in milliseconds.
    private var timeout: CInt {
        let now = milliseconds()
        var least = Self.lookInterval
        func wait(_ time: UInt64) { least = min(least, time) }
        func wait(until time: UInt64) { wait(time > now ? time - now : 0) }
        if let deadline = updates.deadline {
            wait(until: deadline)
        } else if let pause = rooms.service.pause {
            wait(pause)
        }
        if let turn = rooms.gate.nextTurn(after: now) { wait(until: turn) }
        if rooms.shortage.isUnderWay { wait(10) }
        return CInt(clamping: least)
    }

    /// Tells the service manager which descriptors are held. This happens when there is nothing else to do, and never
    /// in a blackout.
    private func tellService() {
        guard updates.isQuiet, !rooms.service.catchUp() else { return }
        try? rooms.orchestrator.current.link.send(.stored(false))
        updates.tell(.stored(false))
    }

    // MARK: Deaths of the orchestrator

    private func replaceDead() throws {
        try reader.readRest()
        rooms.shortage.beginAgain()
        let death = rooms.orchestrator.noteDeath { slot in rooms.vault.entry(slot)?.held.label.charged }
        if let refusal = death.refusal { try endIfNothingIsHeld(refusal) }
        let waits = death.pause == 0 ? "" : ", and waits \(death.pause) ms before it serves"
        rooms.log.say(
            "the orchestrator ended (\(death.how)): another is started\(waits)", .warning,
            ["dead": .number(death.process)])
        // Only an update is taken back. After a reload, the last takeover in the arena is the one that began this boot,
        // and taking it back would return to the boot before.
        let wasInUpdate = updates.isEndingBoot
        updates.handle(.orchestratorDied)
        try startNext(after: death, wasInUpdate: wasInUpdate)
    }

    private func startNext(after death: OrchestratorSupervisor.Death, wasInUpdate: Bool) throws {
        let role = ControlMessage.Role(
            replacing: true, wasInUpdate: wasInUpdate, mustRefuse: death.refusal != nil,
            kernel: rooms.kernel.comparison, isRestored: false)
        let after =
            death.refusal.map { "\(rooms.settings.state): \($0)" } ?? "the orchestrator ended (\(death.how))"
        let begin = ControlMessage.begin(role, nextSlot: rooms.vault.nextSlot, after: after, pause: death.pause)
        var isLogged = false
        while true {
            do {
                return try rooms.orchestrator.startNext(begin, rooms.vault, isStored: rooms.service.isStoring)
            } catch {
                if !isLogged { rooms.log.say("no orchestrator could be started: \(error); luod tries again", .error) }
                isLogged = true
                ending.pause(reading: reader)
            }
        }
    }

    /// - Throws: StartFailure if nothing is held. Orchestrators that die at their start would otherwise be restarted
    ///   for ever.
    private func endIfNothingIsHeld(_ why: String) throws {
        guard rooms.vault.holdsOnlyState else { return }
        throw StartFailure(
            .unavailable,
            "\(rooms.settings.state): \(why); raise the limits on memory and processes, or report a bug if they are not "
                + "the cause")
    }
}

// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import Logging
import SystemPackage

/// Starts the gate with the first program that runs under a filter, and again whenever the gate dies. Those programs
/// wait while no gate receives their notifications. If the start fails, this tries again a moment later. Only the
/// programs wait until then, and clients do not.
final class GateSupervisor {
    /// A program under a filter.
    typealias Program = (held: HeldSlot, descriptor: FileDescriptor)

    private let settings: Settings
    private let vault: DescriptorVault
    private let orchestrator: OrchestratorSupervisor
    private let memory: ControlMemory
    private let children: ChildPoller
    private let log: Log
    private var gate: GateInKeeper?
    private var restarts = RestartPolicy()
    /// The time to start a gate, in milliseconds of CLOCK_MONOTONIC; nil when a gate runs, or when none is needed.
    private var due: UInt64?
    /// The reason why no gate could be started; nil when the last start worked.
    private var failure: String?

    /// Makes a supervisor without a gate. `vault` holds the programs that a new gate serves. A new gate runs the same
    /// program as `orchestrator`.
    init(
        _ settings: Settings, _ vault: DescriptorVault, _ orchestrator: OrchestratorSupervisor, _ memory: ControlMemory,
        _ children: ChildPoller, _ log: Log
    ) {
        self.settings = settings
        self.vault = vault
        self.orchestrator = orchestrator
        self.memory = memory
        self.children = children
        self.log = log
    }

    // MARK: Programs

    /// Lets the gate serve one more program, which must be in the vault already.
    func serve(_ program: Program) {
        if let gate { gate.serve([program]) } else if due == nil { begin() }
    }

    /// Drops programs with closed descriptors from the queue.
    func forget(_ slots: [DescriptorSlot]) { gate?.forget(slots) }

    /// Starts a gate for the programs that a keeper has found, unless it has found the gate, too.
    func resume() { if gate == nil, !vault.programs.isEmpty { begin() } }

    private func begin() {
        do {
            let next = try GateInKeeper(orchestrator.image.executable, settings)
            try children.add(next.process.ending)
            next.serve(vault.programs)
            gate = next
            due = nil
            if failure != nil { log.say("a gate serves the programs under luoctl run again") }
            failure = nil
        } catch {
            let why = "\(StartFailure(error, on: StateDirectory(settings.state)))"
            if failure != why {
                log.say("no gate can be started, so programs under luoctl run wait in open(2): \(why)", .error)
            }
            failure = why
            due = milliseconds() + 100
        }
    }

    // MARK: Turns of the keeper's loop

    /// Whether a descriptor is the one that reports the gate's end.
    func isEnding(_ number: CInt) -> Bool { gate?.process.ending.rawValue == number }

    /// Whether the gate has ended.
    var hasEnded: Bool { gate?.process.process.hasEnded == true }

    /// The time of the next work to do, in milliseconds of CLOCK_MONOTONIC.
    func nextTurn(after now: UInt64) -> UInt64? { gate?.isBehind == true ? now + 100 : due }

    /// Does the work that is due.
    func handleDeadlines() {
        if let due, milliseconds() >= due { begin() }
        gate?.sendRest()
    }

    /// Replaces a gate that has ended.
    func replaceDead() {
        guard let dead = gate else { return }
        gate = nil
        children.remove(dead.process.ending)
        let status = children.reap(dead.process)
        memory.count(.death(.gate, Counter.DeathCause(status)))
        let how = status?.description ?? "ended"
        let now = milliseconds()
        let pause = restarts.pause(afterDeathAt: now)
        log.say(
            "the gate ended (\(how)): another is started\(pause == 0 ? "" : " in \(pause) ms")", .warning,
            ["dead": .number(dead.process.process.id)])
        if pause == 0 { begin() } else { due = now + pause }
    }

    // MARK: Ends

    /// Ends the gate, with luod.
    func end() {
        gate?.process.process.kill()
        gate?.process.process.waitForEnd(StateDirectory.patience)
    }

    /// The gate for the next program of the keeper; nil without a gate. A gate that does not know all programs yet is
    /// not handed on, and the next program starts another one.
    var handed: KeeperState.Gate? {
        guard let gate, !gate.isBehind else { return nil }
        return KeeperState.Gate(process: gate.process.handed, calls: gate.memory.rawValue)
    }

    /// Takes the gate that the keeper's earlier program has started.
    func take(_ handed: KeeperState.Gate) throws {
        let calls = OwnedDescriptor(taking: FileDescriptor(rawValue: handed.calls))
        let found = GateInKeeper(found: LinkedProcess(handed.process), calls)
        try children.add(found.process.ending)
        gate = found
    }
}

/// A gate as its keeper sees it.
private final class GateInKeeper {
    let process: LinkedProcess
    /// The memory with the calls that a gate has taken and not answered. The next gate finishes them.
    private let calls: OwnedDescriptor
    /// Programs that the gate does not know yet, because of a shortage.
    private var unsent: [(held: HeldSlot, descriptor: FileDescriptor)] = []

    /// - Throws: ENOSPC without room for the memory of its calls; the errors of starting a process.
    init(_ image: String, _ settings: Settings) throws {
        calls = try StateDirectory(settings.state).calls.openForNextGate()
        process = try LinkedProcess(starting: image, .gate, settings)
        unsent = [(HeldSlot(slot: .lost, kind: .calls), calls.borrowed)]
    }

    /// A gate that the keeper's earlier program has started.
    init(found process: LinkedProcess, _ calls: consuming OwnedDescriptor) {
        self.process = process
        self.calls = calls
    }

    /// The memory for its calls.
    var memory: FileDescriptor { calls.borrowed }

    /// Hands programs to the gate, after the programs that already wait for that.
    func serve(_ programs: [(held: HeldSlot, descriptor: FileDescriptor)]) {
        unsent += programs
        sendRest()
    }

    /// Whether programs wait to be handed to the gate.
    var isBehind: Bool { !unsent.isEmpty }

    /// Hands the waiting programs to the gate, as far as that works without waiting.
    func sendRest() {
        while let first = unsent.first {
            do throws(SystemCallError) {
                try process.link.send(.hold([first.held]), [first.descriptor], patience: 0)
            } catch {
                // If the gate has died, that is an event of its own, and the next gate gets all programs.
                if error.errno != .resourceTemporarilyUnavailable && !error.isShortage { unsent = [] }
                return
            }
            unsent.removeFirst()
        }
    }

    /// Drops programs with closed descriptors from the queue.
    func forget(_ slots: [DescriptorSlot]) { unsent.removeAll { slots.contains($0.held.slot) } }
}

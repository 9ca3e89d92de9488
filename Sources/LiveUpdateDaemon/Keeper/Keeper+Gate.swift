import LiveUpdate
import Platform
import SystemPackage

/// The gate, as its keeper has it: started with the first program that runs under a filter, and again whenever it dies.
/// While nobody receives their notifications, those programs wait.
final class GateKeeping {
    let process: Orchestrating
    /// What a gate has taken and not answered is in this memory, so that the next one answers it.
    private let calls: OwnedDescriptor
    /// Programs that the gate was not told about yet, because of a shortage.
    private var unsent: [(keep: Keep, descriptor: FileDescriptor)] = []

    /// - Throws: ENOSPC without room for the memory of its calls; the errors of starting a process.
    init(_ image: String, _ settings: Settings) throws {
        calls = try StateDirectory(settings.state).calls.openForNextGate()
        process = try Orchestrating(starting: image, .gate, settings)
        unsent = [(Keep(slot: .lost, kind: .calls), calls.borrowed)]
    }

    /// A gate that the program before this one has started.
    init(found process: Orchestrating, _ calls: consuming OwnedDescriptor) {
        self.process = process
        self.calls = calls
    }

    /// The memory for its calls.
    var memory: FileDescriptor { calls.borrowed }

    /// Hands programs to the gate, after those that it was not told about yet.
    func serve(_ programs: [(keep: Keep, descriptor: FileDescriptor)]) {
        unsent += programs
        sendRest()
    }

    /// Whether programs wait to be handed to the gate.
    var isBehind: Bool { !unsent.isEmpty }

    /// Hands the waiting programs to the gate, as far as that works without waiting.
    func sendRest() {
        while let first = unsent.first {
            do throws(SystemCallError) {
                try process.link.send(.hold([first.keep]), [first.descriptor], patience: 0)
            } catch {
                // The gate has died, which is an event of its own, and the next gate gets all programs.
                if error.errno != .resourceTemporarilyUnavailable && !error.isShortage { unsent = [] }
                return
            }
            unsent.removeFirst()
        }
    }

    /// Drops waiting programs with closed descriptors.
    func forget(_ slots: [DescriptorSlot]) { unsent.removeAll { slots.contains($0.keep.slot) } }
}

extension Keeper {
    /// Has a gate serve one more program.
    func serve(_ keep: Keep, _ descriptor: FileDescriptor) {
        if let gate { gate.serve([(keep, descriptor)]) } else if gateDue == nil { beginGate() }
    }

    func replaceDeadGate() {
        guard let dead = gate else { return }
        gate = nil
        forget(dead.process)
        let how = reap(dead.process)
        let now = milliseconds()
        let pause = gateRestarts.pause(afterDeathAt: now)
        log.say("the gate ended (\(how)): another is started\(pause == 0 ? "" : " in \(pause) ms")")
        if pause == 0 { beginGate() } else { gateDue = now + pause }
    }

    /// Starts a gate. After a failure the keeper tries again a moment later: programs wait until then, and clients do
    /// not.
    func beginGate() {
        do {
            let next = try GateKeeping(image.executable, settings)
            try poller.add(next.process.ending, for: .reading)
            next.serve(table.all.filter { $0.keep.kind == .program })
            gate = next
            gateDue = nil
            if gateFailure != nil { log.say("a gate serves the programs under luoctl run again") }
            gateFailure = nil
        } catch {
            let failure = "\(StartFailure(error, on: StateDirectory(settings.state)))"
            if gateFailure != failure {
                log.say(
                    "no gate can be started, so programs under luoctl run wait in open(2): \(failure)")
            }
            gateFailure = failure
            gateDue = milliseconds() + 100
        }
    }

    /// In the place of a keeper that died: what its gate has not answered, a new one does.
    func resumeGate() {
        if table.all.contains(where: { $0.keep.kind == .program }) { beginGate() }
    }
}

import LiveUpdate
import Platform
import SystemPackage

/// The gate, as its keeper has it: started with the first program that runs under a filter, and again whenever it dies.
/// While nobody receives their notifications, those programs wait.
final class GateKeeping {
    let process: Orchestrating
    /// What a gate has taken and not answered is in this memory, so that the next one answers it.
    private let calls: OwnedDescriptor

    init(_ image: String, _ settings: Settings) throws {
        calls = try StateDirectory(settings.state).callsOfNoGate()
        process = try Orchestrating(starting: image, Self.arguments(settings))
    }

    private static func arguments(_ settings: Settings) -> [String] {
        ["gate", "--state", settings.state] + (settings.isConfined ? [] : ["--unconfined"])
            + (settings.kernel.map { ["--as-kernel", $0.rawValue] } ?? [])
            + (settings.endsUnused ? ["--until-unused"] : [])
    }

    /// Gives it everything. One that died already is seen next.
    func begin(_ programs: [(keep: Keep, descriptor: FileDescriptor)]) {
        try? process.link.send(.hold([Keep(slot: .lost, kind: .calls)]), [calls.borrowed])
        try? process.link.send(holding: programs)
    }
}

extension Keeper {
    /// A program more.
    func serve(_ keep: Keep, _ descriptor: FileDescriptor) {
        if let gate {
            // What cannot be sent to one that died is in the table for the next.
            try? gate.process.link.send(.hold([keep]), [descriptor])
        } else {
            beginGate()
        }
    }

    func replaceDeadGate() {
        guard let dead = gate else { return }
        forget(dead.process)
        log.say("the gate ended (\(dead.process.reap())): it is started again")
        gateRestarts.wait()
        beginGate()
    }

    /// Starts one, in the place of one that died if there was one. When that fails it is tried again in a moment: the programs
    /// wait, and nobody else is held up.
    func beginGate() {
        do {
            let next = try GateKeeping(image.executable, settings)
            try poller.add(next.process.process.descriptor, for: .reading)
            next.begin(table.all.filter { $0.keep.kind == .program })
            gate = next
            isGateMissing = false
        } catch {
            if !isGateMissing { log.say("the gate could not be started, and programs under a filter wait: \(error)") }
            isGateMissing = true
        }
    }

    /// In the place of a keeper that died: what its gate has not answered, a new one does.
    func resumeGate() {
        if table.all.contains(where: { $0.keep.kind == .program }) { beginGate() }
    }
}

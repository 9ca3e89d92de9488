import Glibc
import LiveUpdate
import Platform
import SystemPackage

/// What `luod` is when its keeper starts it as the gate: between the programs that run under a filter and the orchestrator.
/// It lets their foreign opens continue, whatever the orchestrator does, and has no state that is not in the memory which its
/// keeper keeps.
///
/// 1. It gets the memory for its calls, and then listeners, over the socket that it inherits.
/// 2. What a gate before it had taken and not answered, it answers first.
/// 3. Each listener has threads of its own: ``GatedProgram``.
/// 4. When its keeper dies it goes on with what it has, until the last of those programs has ended.
public enum GateProcess {
    /// What it needs: to reach the memory and the descriptors of programs, and to follow the links that they name.
    static let capabilities: [Capability] = [.traceProcesses, .overridePermissions]

    /// Runs until it is ended by its keeper.
    public static func run() throws -> Never {
        let log = Log("luod gate")
        let (keeper, settings) = try StartedProcess.begin(log)
        if settings.isConfined { try Capabilities.keep(only: capabilities) }
        Capabilities.raise(capabilities)
        // A path of a program's must not mean anything of ours.
        _ = unsafe chdir("/")
        var gate: Gate?
        while let received = try keeper.receive(.waiting), !received.isCut {
            guard case .hold(let keeps) = received.message else { continue }
            for (keep, descriptor) in zip(keeps, received.descriptors) {
                if keep.kind == .calls {
                    gate = Gate(try CallTable(descriptor), settings, log)
                } else {
                    gate?.serve(keep.slot, of: keep.label.user, OwnedDescriptor(taking: descriptor))
                }
            }
        }
        // A message was cut, because there was no room for its descriptors: those programs would wait for ever. The next gate
        // gets all of them.
        guard keeper.descriptor.hasHungUp else { exitNow(1) }
        gate?.waitForEnd()
        // The orchestrator, which ends with them, too, may not.
        if settings.endsUnused { StateDirectory(settings.state).remove() }
        exitNow(0)
    }
}

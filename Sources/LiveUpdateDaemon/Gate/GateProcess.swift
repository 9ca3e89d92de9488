import Glibc
import LiveUpdate
import Platform
import SystemPackage

/// The process `luod gate`, which its keeper starts: between the programs that run under a filter and the orchestrator.
/// It lets their foreign opens continue, whatever the orchestrator does, and has no state outside the memory that its
/// keeper holds.
///
/// 1. It gets the memory for its calls, and then listeners, over the socket that it inherits.
/// 2. It finishes the calls that a gate before it has taken and not answered: ``RecoveredCall``.
/// 3. Each listener has threads of its own: ``ProgramListener``.
/// 4. When its keeper dies it goes on with its listeners, until the last of those programs has ended.
public enum GateProcess {
    /// The rights that it needs: to reach the memory and the descriptors of programs, and to follow the links that they
    /// name.
    static let capabilities: [Capability] = [.traceProcesses, .overridePermissions]

    /// The time after which a listener without room is begun again, in milliseconds.
    private static let pause: CInt = 200

    /// Runs until its keeper ends it.
    public static func run() throws -> Never {
        let log = Log("luod gate")
        let (keeper, settings) = try StartedProcess.begin(log)
        if settings.isConfined { try Capabilities.keep(only: capabilities) }
        Capabilities.raise(capabilities)
        // A path of a program's must not mean anything of ours.
        _ = unsafe chdir("/")
        var gate: Gate?
        // Listeners without room for their calls, or without a thread.
        var unbegun: [ProgramListener] = []
        while true {
            let isThere = keeper.descriptor.isReadable(within: unbegun.isEmpty ? -1 : pause)
            unbegun.removeAll { $0.begin() }
            guard isThere else { continue }
            guard let received = try keeper.receive(.waiting), !received.isCut else { break }
            guard case .hold(let keeps) = received.message else { continue }
            for (keep, descriptor) in zip(keeps, received.descriptors) {
                if keep.kind == .calls {
                    gate = Gate(try CallTable(descriptor), settings, log)
                } else if let listener = gate?.serve(
                    keep.slot, of: keep.label.user, OwnedDescriptor(taking: descriptor))
                {
                    log.say(
                        "a program under luoctl run waits without room for its calls: give the file system of the state "
                            + "more room, and raise the limit on threads")
                    unbegun.append(listener)
                }
            }
        }
        // A message was cut, because there was no room for its descriptors: those programs would wait for ever. The
        // next gate gets all of them.
        guard keeper.descriptor.hasHungUp else { exitNow(1) }
        goOnAlone(gate, unbegun)
        // The orchestrator, which ends with them, too, may not.
        if settings.endsUnused { StateDirectory(settings.state).remove() }
        exitNow(0)
    }

    /// Goes on without a keeper, until the last program has ended.
    private static func goOnAlone(_ gate: Gate?, _ listeners: [ProgramListener]) {
        var unbegun = listeners
        while !unbegun.isEmpty {
            usleep(UInt32(pause) * 1000)
            unbegun.removeAll { $0.begin() }
        }
        gate?.waitForEnd()
    }
}

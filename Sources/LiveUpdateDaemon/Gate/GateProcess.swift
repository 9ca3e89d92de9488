// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// The process `luod gate`, which its keeper starts. It stands between the programs that run under a filter and the
/// orchestrator. It lets their opens of other files continue even if the orchestrator hangs, and has no state outside
/// the memory that its keeper holds.
///
/// 1. It receives the memory for its calls, and then listeners, over an inherited socket.
/// 2. It finishes the calls that the gate before it has taken and not answered: ``RecoveredCall``.
/// 3. Each listener has threads of its own: ``ProgramListener``.
/// 4. When its keeper dies, the gate continues with its listeners until the last of those programs has ended.
package enum GateProcess {
    /// The capabilities that the gate needs: to reach the memory and the descriptors of programs, and to follow the
    /// links in their paths.
    static let capabilities: [Capability] = [.traceProcesses, .overridePermissions]

    /// The time until a listener without room tries to begin again, in milliseconds.
    private static let pause: CInt = 200

    /// Runs until its keeper ends it.
    package static func run() throws -> Never {
        let log = Log("luod-gate")
        let (keeper, settings) = try StartedProcess.begin(log)
        if settings.isConfined { try Capabilities.keep(only: capabilities) }
        Capabilities.raise(capabilities)
        // A relative path of a program must never find a file in this process's working directory.
        _ = unsafe chdir("/")
        var gate: Gate?
        // Listeners without room for their calls, or without a thread.
        var unbegun: [ProgramListener] = []
        while true {
            let isThere = keeper.descriptor.isReadable(within: unbegun.isEmpty ? -1 : pause)
            unbegun.removeAll { $0.begin() }
            guard isThere else { continue }
            guard let received = try keeper.receive(.waiting), !received.isCut else { break }
            guard case .hold(let slots) = received.message else { continue }
            for (held, descriptor) in zip(slots, received.descriptors) {
                if held.kind == .calls {
                    gate = Gate(try CallTable(descriptor), settings, log)
                } else if let listener = gate?.serve(
                    held.slot, of: held.label.user, OwnedDescriptor(taking: descriptor))
                {
                    log.say(
                        "a program under luoctl run waits without room for its calls: give the file system of the state "
                            + "more room, and raise the limit on threads")
                    unbegun.append(listener)
                }
            }
        }
        // The message was truncated, because there was no room for its descriptors. Those programs would wait for ever,
        // so this gate ends, and the next gate receives all of them.
        guard keeper.descriptor.hasHungUp else { exitNow(1) }
        goOnAlone(gate, unbegun)
        // The orchestrator ends with these programs, too, but its seccomp filter does not let it remove the state.
        if settings.endsUnused { StateDirectory(settings.state).remove() }
        exitNow(0)
    }

    /// Continues without a keeper until the last program has ended.
    private static func goOnAlone(_ gate: Gate?, _ listeners: [ProgramListener]) {
        var unbegun = listeners
        while !unbegun.isEmpty {
            usleep(UInt32(pause) * 1000)
            unbegun.removeAll { $0.begin() }
        }
        gate?.waitForEnd()
    }
}

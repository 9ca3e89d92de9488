// SPDX-License-Identifier: Apache-2.0
import CLiveUpdate
import Glibc
import Synchronization
import SystemPackage

/// Blocks signals, and makes a descriptor that is readable when one of them has come: signalfd(2). Programs that
/// `ProgramImage.spawn(_:)` starts get them unblocked.
///
/// - Throws: EMFILE.
package func blockSignals(_ numbers: [CInt]) throws(SystemCallError) -> OwnedDescriptor {
    let number = try systemCall("signalfd") { unsafe cshims_signalfd(numbers, numbers.count) }
    return OwnedDescriptor(taking: FileDescriptor(rawValue: number))
}

/// Whether this process ignores a signal: sigaction(2). The parent can decide that, as nohup(1) does for SIGHUP.
package func isIgnored(_ number: CInt) -> Bool { cshims_is_ignored(number) != 0 }

/// Makes this process the first of a new process group: setpgid(2). Signals to its former group, such as those of a
/// terminal, do not reach it any more.
package func leaveProcessGroup() { _ = setpgid(0, 0) }

/// Ignores the signals with which service managers, terminals and the end of a machine end processes: SIGTERM, SIGINT,
/// SIGHUP.
package func ignoreEndingSignals() { for number in [SIGTERM, SIGINT, SIGHUP] { _ = signal(number, SIG_IGN) } }

/// Ignores SIGXFSZ in this process, and in the programs that it starts or becomes. A write that would make a file
/// longer than RLIMIT_FSIZE then fails with EFBIG, and does not end the process: setrlimit(2).
package func ignoreFileSizeSignal() { _ = signal(SIGXFSZ, SIG_IGN) }

/// The last signal that the handler has seen, or 0.
private let caught = Atomic<CInt>(0)

/// Makes long work in the kernel end early, but in a consistent state, when a signal asks this process to end. While
/// the work runs, SIGINT, SIGTERM and SIGHUP do not end the process. They only interrupt the kernel, which then returns
/// with the part that is done.
package enum InterruptHold {
    private static let signals = [SIGINT, SIGTERM, SIGHUP]

    /// Runs `body`. Two threads must not do this at once, because signal handlers belong to the process.
    ///
    /// - Returns: the value of `body`, and the number of a signal that came meanwhile and had no other effect.
    package static func holding<Value>(_ body: () -> Value) -> (value: Value, signal: CInt?) {
        caught.store(0, ordering: .relaxed)
        var before = signals.map { _ in Glibc.sigaction() }
        for (index, signal) in signals.enumerated() {
            unsafe sigaction(signal, nil, &before[index])
            // An ignored signal (nohup) stays ignored.
            if unsafe isIgnored(before[index]) { continue }
            var action = Glibc.sigaction()
            unsafe action.__sigaction_handler.sa_handler = { caught.store($0, ordering: .relaxed) }
            unsafe sigaction(signal, &action, nil)
        }
        let value = body()
        for (index, signal) in signals.enumerated() { unsafe sigaction(signal, &before[index], nil) }
        let signal = caught.load(ordering: .relaxed)
        return (value, signal == 0 ? nil : signal)
    }

    @unsafe
    private static func isIgnored(_ action: sigaction) -> Bool {
        unsafe action.__sigaction_handler.sa_handler.map { unsafe unsafeBitCast($0, to: Int.self) } == 1  // SIG_IGN
    }
}

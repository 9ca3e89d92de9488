// SPDX-License-Identifier: Apache-2.0
import Glibc
import Synchronization

/// The last signal that the handler has seen, or 0.
private let caught = Atomic<CInt>(0)

/// Makes long work in the kernel end early, but in a consistent state, when a signal asks this process to end. While
/// the work runs, SIGINT, SIGTERM and SIGHUP do not end the process. They only interrupt the kernel, which then returns
/// with the part that is done.
public enum InterruptHold {
    private static let signals = [SIGINT, SIGTERM, SIGHUP]

    /// Runs `body`. Two threads must not do this at once, because signal handlers belong to the process.
    ///
    /// - Returns: the value of `body`, and the number of a signal that came meanwhile and had no other effect.
    public static func holding<Value>(_ body: () -> Value) -> (value: Value, signal: CInt?) {
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

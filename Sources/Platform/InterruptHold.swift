import Glibc
import Synchronization

/// What the handler has seen: the last signal, or 0.
private let caught = Atomic<CInt>(0)

/// Lets work that takes long end early but whole, when somebody wants to end this process: while it runs, SIGINT, SIGTERM
/// and SIGHUP interrupt the kernel, which then returns with what it has done so far, and do not end the process.
public enum InterruptHold {
    private static let signals = [SIGINT, SIGTERM, SIGHUP]

    /// Runs `body`. Not on two threads at once: handlers belong to the process.
    ///
    /// - Returns: what it returned, and the number of a signal that came meanwhile, which was not acted upon.
    public static func holding<Value>(_ body: () -> Value) -> (value: Value, signal: CInt?) {
        caught.store(0, ordering: .relaxed)
        var before = signals.map { _ in Glibc.sigaction() }
        for (index, signal) in signals.enumerated() {
            unsafe sigaction(signal, nil, &before[index])
            // Whoever ignores it (nohup) goes on ignoring it.
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

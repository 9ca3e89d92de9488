import CShims
public import SystemPackage

/// Fails system calls of the current thread by their number, for fault sweeps: fail the first, the second, the third …
/// until a run is untouched; after each, only "it worked" or "the injected error" may be seen.
///
/// SQLite tests itself like this. Every call of this package that can fail goes through it, `close` included.
public enum FaultInjector {
    /// Runs `body` with a fault armed on this thread.
    ///
    /// - Parameters:
    ///   - number: the system call that fails, counted from 1; 0 fails none and only counts.
    ///   - errno: what it fails with. After EINTR it is made again: with that from then on it would never end.
    ///   - sticky: whether all later calls fail, too.
    ///   - body: what is to meet the fault.
    /// - Returns: what `body` returned, and the number of calls that were made or refused.
    public static func failing<Value>(
        call number: Int, with errno: Errno = .ioError, fromThenOn sticky: Bool = false, _ body: () -> Value
    ) -> (value: Value, calls: Int) {
        cshims_fault_arm(number, errno.rawValue, sticky ? 1 : 0)
        let value = body()
        return (value, cshims_fault_disarm())
    }
}

// SPDX-License-Identifier: Apache-2.0
import CLiveUpdate
public import SystemPackage

/// Makes system calls of the current thread fail, by their number. In a fault sweep the first call fails, then the
/// second, the third, and so on, until a run meets no fault. After each run a test may see only success or the injected
/// error.
///
/// SQLite is tested like this. Every call of this package that can fail is covered, including `close`.
public enum FaultInjector {
    /// Runs `body` with a fault armed on this thread.
    ///
    /// - Parameters:
    ///   - number: the system call that fails, counted from 1; 0 fails none and only counts.
    ///   - errno: the error of the call. A call is repeated after EINTR, so EINTR together with `fromThenOn` never
    ///     ends.
    ///   - sticky: whether all later calls fail, too.
    ///   - body: the code to test.
    /// - Returns: what `body` returned, and the number of calls that were made or refused.
    public static func failing<Value>(
        call number: Int, with errno: Errno = .ioError, fromThenOn sticky: Bool = false, _ body: () -> Value
    ) -> (value: Value, calls: Int) {
        cshims_fault_arm(number, errno.rawValue, sticky ? 1 : 0)
        let value = body()
        return (value, cshims_fault_disarm())
    }
}

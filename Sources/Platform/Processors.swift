import CShims
import Glibc

/// The processors that the calling thread may run on: sched_setaffinity(2).
public enum Processors {
    /// Their numbers, rising.
    public static var allowed: [CInt] {
        (0..<CInt(sysconf(CInt(_SC_NPROCESSORS_CONF)))).filter { cshims_may_run_on($0) == 1 }
    }

    /// Makes the calling thread, and what it starts from now on, run on one of them only.
    ///
    /// - Throws: EINVAL when it may not.
    public static func run(on processor: CInt) throws(SystemCallError) {
        try systemCall("sched_setaffinity") { cshims_run_on(processor) }
    }
}

import CShims
import Glibc

/// The processors that the calling thread may run on: sched_setaffinity(2).
public enum Processors {
    /// Their numbers, rising.
    public static var allowed: [CInt] {
        (0..<CInt(sysconf(CInt(_SC_NPROCESSORS_CONF)))).filter { cshims_may_run_on($0) == 1 }
    }

    /// Makes the calling thread, and what it starts from now on, run on some of them only.
    ///
    /// - Throws: EINVAL when it may run on none.
    public static func run(on processors: [CInt]) throws(SystemCallError) {
        try systemCall("sched_setaffinity") { unsafe cshims_run_on(processors, processors.count) }
    }
}

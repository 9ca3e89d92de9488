// SPDX-License-Identifier: Apache-2.0
import CLiveUpdate
import Glibc

/// The processors that the calling thread may run on: sched_setaffinity(2).
public enum Processors {
    /// The numbers of the processors, in ascending order.
    public static var allowed: [CInt] {
        (0..<CInt(sysconf(CInt(_SC_NPROCESSORS_CONF)))).filter { cshims_may_run_on($0) == 1 }
    }

    /// Restricts the calling thread, and the threads and processes that it starts from now on, to some processors.
    ///
    /// - Throws: EINVAL when the thread may run on none of them.
    public static func run(on processors: [CInt]) throws(SystemCallError) {
        try systemCall("sched_setaffinity") { unsafe cshims_run_on(processors, processors.count) }
    }
}

// SPDX-License-Identifier: Apache-2.0
import CLiveUpdate
import Glibc
import SystemPackage

/// Starts a detached thread: pthread_create(3).
///
/// - Parameters:
///   - stackSize: in bytes; at least PTHREAD_STACK_MIN.
///   - blockingSignals: whether the thread blocks all signals; otherwise it blocks those of the calling thread.
///   - capabilities: the only capabilities of the thread; nil for those of the calling thread.
///   - body: runs on the thread, which ends when `body` returns.
/// - Throws: EAGAIN when there are too many threads, EINVAL for too small a stack.
package func startThread(
    stackSize: Int = 512 << 10, blockingSignals: Bool = false, keeping capabilities: [Capability]? = nil,
    _ body: @escaping @Sendable () -> Void
) throws(SystemCallError) {
    if let capabilities {
        return try startThread(stackSize: stackSize, blockingSignals: blockingSignals) {
            // A thread that cannot give up a right must not run.
            guard (try? Capabilities.keep(only: capabilities)) != nil else { abort() }
            body()
        }
    }
    guard blockingSignals else { return try create(stackSize, body) }
    // A thread inherits the mask, so that no signal reaches it before it runs.
    var (all, own) = (sigset_t(), sigset_t())
    unsafe sigfillset(&all)
    unsafe pthread_sigmask(SIG_SETMASK, &all, &own)
    defer { unsafe pthread_sigmask(SIG_SETMASK, &own, nil) }
    try create(stackSize, body)
}

private func create(_ stackSize: Int, _ body: @escaping @Sendable () -> Void) throws(SystemCallError) {
    var attributes = pthread_attr_t()
    unsafe pthread_attr_init(&attributes)
    defer { unsafe pthread_attr_destroy(&attributes) }
    unsafe pthread_attr_setdetachstate(&attributes, CInt(PTHREAD_CREATE_DETACHED))
    unsafe pthread_attr_setstacksize(&attributes, stackSize)
    let box = unsafe Unmanaged.passRetained(ThreadBody(body)).toOpaque()
    var thread = pthread_t()
    let result = unsafe pthread_create(
        &thread, &attributes,
        { box in
            guard let box = unsafe box else { return nil }
            unsafe Unmanaged<ThreadBody>.fromOpaque(box).takeRetainedValue().run()
            return nil
        }, box)
    guard result != 0 else { return }
    unsafe Unmanaged<ThreadBody>.fromOpaque(box).release()
    throw SystemCallError("pthread_create", Errno(rawValue: result))
}

private final class ThreadBody: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}

/// The priority of the calling thread, as a nice value: setpriority(2).
package enum Priority {
    private static let ofThread = __priority_which_t(PRIO_PROCESS.rawValue)

    /// Raises the priority of the calling thread, and of the threads and processes that it starts from then on. A
    /// thread with another nice value than 0 keeps it, because an administrator has chosen it.
    ///
    /// Without the right to do so (CAP_SYS_NICE) nothing changes.
    ///
    /// - Parameter nice: -20, the highest priority, to -1.
    package static func raise(nice: CInt) {
        // getpriority(2) returns -1 also for an error, and then nothing is raised either.
        guard getpriority(ofThread, 0) == 0 else { return }
        _ = setpriority(ofThread, 0, nice)
    }

    /// Gives the calling thread the usual priority if it has a higher one.
    package static func lower() {
        guard getpriority(ofThread, 0) < 0 else { return }
        _ = setpriority(ofThread, 0, 0)
    }
}

/// The processors that the calling thread may run on: sched_setaffinity(2).
package enum Processors {
    /// The numbers of the processors, in ascending order.
    package static var allowed: [CInt] {
        (0..<CInt(sysconf(CInt(_SC_NPROCESSORS_CONF)))).filter { cshims_may_run_on($0) == 1 }
    }

    /// Restricts the calling thread, and the threads and processes that it starts from now on, to some processors.
    ///
    /// - Throws: EINVAL when the thread may run on none of them.
    package static func run(on processors: [CInt]) throws(SystemCallError) {
        try systemCall("sched_setaffinity") { unsafe cshims_run_on(processors, processors.count) }
    }
}

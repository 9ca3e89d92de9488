// SPDX-License-Identifier: Apache-2.0
import CLiveUpdateSeccomp
import LiveUpdatePlatform
import SystemPackage

/// Takes rights from an orchestrator before it reads anything that a client sent. Afterwards it cannot start a program,
/// connect to a socket, or gain a right. A call that is not in the list fails with EPERM.
enum Sandbox {
    /// System calls for memory, the runtime, messages, the checks of handlers, and the records of named files.
    private static let allowed = [
        "read", "write", "pread64", "pwrite64", "lseek", "close", "close_range", "fstat", "newfstatat", "statx",
        "fstatfs",
        "statfs", "fcntl", "dup", "dup2", "dup3", "ftruncate", "fallocate", "memfd_create", "open", "openat",
        "openat2", "readlink",
        "readlinkat", "getdents64", "access", "faccessat", "faccessat2", "ioctl", "userfaultfd", "mmap", "munmap",
        "mremap", "mprotect", "madvise", "mlock", "mlock2", "munlock", "mincore", "brk", "futex", "sched_yield",
        "sched_getaffinity", "set_robust_list", "rseq", "membarrier", "getrandom", "clock_gettime", "clock_nanosleep",
        "getrusage", "getpriority", "setpriority",
        "nanosleep", "gettimeofday", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall",
        "tgkill", "getpid", "gettid", "getuid", "geteuid", "getgid", "getegid", "prlimit64", "getrlimit", "sysinfo",
        "uname", "capget", "capset", "prctl", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "poll",
        "ppoll", "recvmsg", "sendmsg", "accept4", "socketpair", "getsockopt", "setsockopt", "getsockname",
        "getpeername",
        "pidfd_open", "pidfd_send_signal", "shutdown", "kcmp", "exit", "exit_group",
    ]

    /// Capabilities that the process may still raise for a single operation: to see page frames, to lock the arena into
    /// memory, and to send descriptors beyond a limit.
    static let capabilities: [Capability] = [.systemAdministration, .lockMemory, .systemResource]

    /// The capability to open the files of all users on DAX again under another kernel. The process gives it up before
    /// it serves.
    static let startCapabilities: [Capability] = [.overridePermissions]

    /// Gives up all other capabilities. Call this before the process starts its other threads, which inherit the rest.
    ///
    /// - Throws: EPERM.
    static func limitCapabilities() throws(SystemCallError) { try Capabilities.keep(only: capabilities) }

    /// Loads the filter into all threads of the process. It cannot be removed.
    ///
    /// - Throws: EPERM, EINVAL on a kernel without seccomp(2).
    static func enter() throws(SystemCallError) {
        try denyNewPrivileges()
        guard let filter = unsafe seccomp_init(luo_refuse()) else { throw SystemCallError("seccomp", .noMemory) }
        defer { unsafe seccomp_release(filter) }
        // 1 means true.
        let synchronized = unsafe seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1)
        guard synchronized == 0 else { throw SystemCallError("seccomp", Errno(rawValue: -synchronized)) }
        for name in allowed {
            let number = unsafe seccomp_syscall_resolve_name(name)
            // The call does not exist on this architecture.
            guard number >= 0 else { continue }
            let result = unsafe seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, 0, nil)
            guard result == 0 else { throw SystemCallError("seccomp", Errno(rawValue: -result)) }
        }
        let result = unsafe seccomp_load(filter)
        guard result == 0 else { throw SystemCallError("seccomp", Errno(rawValue: -result)) }
    }
}

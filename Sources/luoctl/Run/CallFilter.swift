// SPDX-License-Identifier: Apache-2.0
import CLiveUpdateSeccomp
import Glibc
import LiveUpdatePlatform
import SystemPackage

/// The filter under which a program runs.
///
/// It notifies luod of every open, because a filter cannot see paths, and of ioctls of the device's type. All other
/// calls are as fast as without the filter.
struct CallFilter {
    /// The BPF program.
    let instructions: [UInt8]

    init() throws(SystemCallError) {
        guard let filter = unsafe seccomp_init(luo_allow()) else { throw SystemCallError("seccomp", .noMemory) }
        defer { unsafe seccomp_release(filter) }
        // Programs for another architecture run without the filter, and do not find the device.
        try Self.check(unsafe seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, luo_allow()))
        for name in ["open", "creat", "openat", "openat2"] {
            let number = unsafe seccomp_syscall_resolve_name(name)
            guard number >= 0 else { continue }
            try Self.check(unsafe seccomp_rule_add_array(filter, luo_notify(), number, 0, nil))
        }
        let number = unsafe seccomp_syscall_resolve_name("ioctl")
        var ofDevice = scmp_arg_cmp(arg: 1, op: SCMP_CMP_MASKED_EQ, datum_a: 0xFF00, datum_b: 0xBA00)
        try Self.check(unsafe seccomp_rule_add_array(filter, luo_notify(), number, 1, &ofDevice))
        let file = try makeMemoryFile(named: "luo-filter", size: 0)
        try Self.check(unsafe seccomp_export_bpf(filter, file.borrowed.rawValue))
        instructions = try file.borrowed.bytes(at: 0, count: Int(try FileStatus(of: file.borrowed).size))
    }

    private static func check(_ result: CInt) throws(SystemCallError) {
        guard result == 0 else { throw SystemCallError("seccomp", Errno(rawValue: -result)) }
    }

    /// Installs the filter in this process.
    ///
    /// - Returns: the listener. Until luod serves it, every open waits. After its last close, every open fails with
    ///   ENOSYS.
    func install() throws(SystemCallError) -> OwnedDescriptor {
        do throws(SystemCallError) {
            return try listenToCalls(matching: instructions)
        } catch {
            guard error.errno == .permissionDenied else { throw error }
        }
        // Without CAP_SYS_ADMIN, the kernel requires no_new_privs: programs under the filter gain no rights when
        // executed.
        try denyNewPrivileges()
        return try listenToCalls(matching: instructions)
    }
}

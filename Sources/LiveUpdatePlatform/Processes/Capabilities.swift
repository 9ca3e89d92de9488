// SPDX-License-Identifier: Apache-2.0
import CLiveUpdate
import CLiveUpdateCap
import Glibc

/// A capability that some operation needs: capabilities(7).
package enum Capability: String, CaseIterable, Sendable {
    /// Allows access to page frame numbers.
    case systemAdministration = "cap_sys_admin"
    /// Allows hard limits to be raised.
    case systemResource = "cap_sys_resource"
    /// Allows memory to be locked beyond RLIMIT_MEMLOCK.
    case lockMemory = "cap_ipc_lock"
    /// Allows access to the memory and the descriptors of other users' processes.
    case traceProcesses = "cap_sys_ptrace"
    /// Allows access to other users' directories, and to their memory for writing.
    case overridePermissions = "cap_dac_override"
    /// Allows another kernel to be loaded and started.
    case reboot = "cap_sys_boot"

    fileprivate var value: cap_value_t {
        switch self {
        case .systemAdministration: CAP_SYS_ADMIN
        case .systemResource: CAP_SYS_RESOURCE
        case .lockMemory: CAP_IPC_LOCK
        case .traceProcesses: CAP_SYS_PTRACE
        case .overridePermissions: CAP_DAC_OVERRIDE
        case .reboot: CAP_SYS_BOOT
        }
    }
}

/// The capabilities of the calling thread, through libcap.
package enum Capabilities {
    /// Whether the thread may raise the capability (it is in the permitted set), and whether it is raised (effective).
    package static func state(of capability: Capability) -> (permitted: Bool, effective: Bool) {
        guard let set = unsafe cap_get_proc() else { return (false, false) }
        defer { unsafe cap_free(UnsafeMutableRawPointer(set)) }
        return unsafe (
            has(set, capability, CAP_PERMITTED), has(set, capability, CAP_EFFECTIVE)
        )
    }

    /// Runs `body` with a capability raised, where that is possible, and drops the capability again. Without the right
    /// to raise it, `body` runs without the capability, and its system calls decide.
    package static func raising<Value: ~Copyable, Failure>(
        _ capability: Capability, _ body: () throws(Failure) -> Value
    ) throws(Failure) -> Value {
        let (permitted, effective) = state(of: capability)
        guard permitted, !effective, set(capability, .raised) else { return try body() }
        defer { _ = set(capability, .dropped) }
        return try body()
    }

    /// Raises capabilities permanently, as far as they are permitted: for this thread, and for the threads that it
    /// starts.
    package static func raise(_ capabilities: [Capability]) { for one in capabilities { _ = set(one, .raised) } }

    /// Gives up all other capabilities permanently. Where allowed, they also leave the bounding set, so that no program
    /// that is started has them. The remaining capabilities are not effective until they are raised.
    ///
    /// - Throws: EPERM.
    package static func keep(only kept: [Capability]) throws(SystemCallError) {
        let values = kept.map(\.value)
        for value in 0...CInt(CAP_LAST_CAP) where !values.contains(value) { _ = cap_drop_bound(value) }
        guard let now = unsafe cap_get_proc(), let next = unsafe cap_init() else {
            throw SystemCallError("capget", currentErrno())
        }
        defer {
            unsafe cap_free(UnsafeMutableRawPointer(now))
            unsafe cap_free(UnsafeMutableRawPointer(next))
        }
        for var value in values {
            var has = CAP_CLEAR
            guard unsafe cap_get_flag(now, value, CAP_PERMITTED, &has) == 0, has == CAP_SET else { continue }
            unsafe cap_set_flag(next, CAP_PERMITTED, 1, &value, CAP_SET)
        }
        try systemCall("capset") { unsafe cap_set_proc(next) }
    }

    private enum Level {
        case raised, dropped
    }

    private static func set(_ capability: Capability, _ level: Level) -> Bool {
        guard let set = unsafe cap_get_proc() else { return false }
        defer { unsafe cap_free(UnsafeMutableRawPointer(set)) }
        var value = capability.value
        let flag = level == .raised ? CAP_SET : CAP_CLEAR
        return unsafe cap_set_flag(set, CAP_EFFECTIVE, 1, &value, flag) == 0 && cap_set_proc(set) == 0
    }

    @unsafe
    private static func has(_ set: cap_t, _ capability: Capability, _ flag: cap_flag_t) -> Bool {
        var value = CAP_CLEAR
        return unsafe cap_get_flag(set, capability.value, flag, &value) == 0 && value == CAP_SET
    }
}

/// Ensures that no program that this process becomes or starts gains rights: prctl(2), `PR_SET_NO_NEW_PRIVS`.
///
/// - Throws: EINVAL before Linux 3.5.
package func denyNewPrivileges() throws(SystemCallError) {
    try systemCall("prctl") { cshims_no_new_privileges() }
}

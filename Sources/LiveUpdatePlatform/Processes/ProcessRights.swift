// SPDX-License-Identifier: Apache-2.0
import CLiveUpdateCap
import Glibc
import SystemPackage

/// The rights of a process, as the kernel reports them: /proc/PID/status of proc(5).
package struct ProcessRights: Equatable, Sendable {
    /// Whether the process filters its system calls: seccomp(2).
    package enum Filter: UInt8, Sendable {
        /// All calls are allowed.
        case off = 0
        /// Only read(2), write(2) and a few similar calls are allowed.
        case strict = 1
        /// The calls that the process's filter allows.
        case filter = 2
    }

    /// The names of the process's capabilities, whether or not they are effective now: its permitted set.
    package let capabilities: [String]
    /// Whether the programs that the process starts are prevented from gaining rights.
    package let hasNoNewPrivileges: Bool
    /// The filter on its system calls.
    package let seccomp: Filter

    /// Asks the kernel.
    ///
    /// - Throws: ENOENT when there is no such process, EINVAL for a status without one of these fields.
    package init(of process: CInt) throws(SystemCallError) {
        try self.init(readWhole("/proc/\(process)/status"))
    }

    init(_ status: String) throws(SystemCallError) {
        func value(_ name: String, radix: Int) throws(SystemCallError) -> UInt64 {
            let line = status.split(separator: "\n").first { $0.hasPrefix("\(name):") }
            let text = line?.dropFirst(name.count + 1).drop { $0 == " " || $0 == "\t" }
            guard let text, let number = UInt64(text, radix: radix) else {
                throw SystemCallError("read", .invalidArgument)
            }
            return number
        }
        let permitted = try value("CapPrm", radix: 16)
        capabilities = (0..<64).filter { permitted & 1 << UInt64($0) != 0 }.map(Self.name)
        hasNoNewPrivileges = try value("NoNewPrivs", radix: 10) == 1
        seccomp = Filter(rawValue: UInt8(clamping: try value("Seccomp", radix: 10))) ?? .off
    }

    /// The name of a capability in capabilities(7), in lower case, or its number when libcap does not know it.
    private static func name(_ number: Int) -> String {
        guard let name = unsafe cap_to_name(cap_value_t(number)) else { return "\(number)" }
        defer { unsafe cap_free(name) }
        return unsafe String(cString: name)
    }
}

import CLibCap
import Glibc
import SystemPackage

/// What a process may do, as the kernel says it: /proc/PID/status of proc(5).
public struct ProcessRights: Equatable, Sendable {
    /// Whether it filters its system calls: seccomp(2).
    public enum Filter: UInt8, Sendable {
        /// All are allowed.
        case off = 0
        /// read(2), write(2) and their like only.
        case strict = 1
        /// Those that its filter allows.
        case filter = 2
    }

    /// The names of those that it has, effective now or not: its permitted set.
    public let capabilities: [String]
    /// Whether no program that it starts gains a right by that.
    public let hasNoNewPrivileges: Bool
    /// What becomes of its system calls.
    public let seccomp: Filter

    /// Asks the kernel.
    ///
    /// - Throws: ENOENT when there is no such process, EINVAL for a status that says none of it.
    public init(of process: CInt) throws(SystemCallError) {
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

    /// As capabilities(7) calls it, in small letters; the number of one that libcap does not know.
    private static func name(_ number: Int) -> String {
        guard let name = unsafe cap_to_name(cap_value_t(number)) else { return "\(number)" }
        defer { unsafe cap_free(name) }
        return unsafe String(cString: name)
    }
}

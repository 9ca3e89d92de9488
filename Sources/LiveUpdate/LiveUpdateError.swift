public import Handover
public import Platform
public import SystemPackage

/// Why a call did not do what it was asked to: the kernel's errno, in words, with what can be done about it.
public struct LiveUpdateError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What the kernel's orchestrator would answer, as a positive number.
    public let errno: Errno
    /// What was found.
    public let reason: String
    /// What to do about it, where something can be done.
    public let remedy: String?

    /// Says why. Handlers throw these, too.
    public init(_ errno: Errno, _ reason: String, remedy: String? = nil) {
        self.errno = errno
        self.reason = reason
        self.remedy = remedy
    }

    /// What an operation was doing when a system call failed.
    public init(_ error: SystemCallError, _ doing: String) {
        self.init(error.errno, "\(doing): \(error.call)", remedy: Self.remedy(for: error.errno))
    }

    /// What the arena said.
    public init(_ error: ArenaError) {
        self.init(error.errno, "\(error)", remedy: Self.remedy(for: error.errno))
    }

    public var description: String {
        guard let remedy else { return "\(reason) (\(errno))" }
        return "\(reason) (\(errno)); \(remedy)"
    }

    private static func remedy(for errno: Errno) -> String? {
        switch errno {
        case .tooManyOpenFiles: "raise the limit on open files (ulimit -n, LimitNOFILE=)"
        case .tooManyOpenFilesInSystem: "raise fs.file-max"
        case .noSpace: "raise the arena's limit, or give its file system more room"
        case .notPermitted: "run as root, or with the capability that capabilities(7) lists for it"
        default: nil
        }
    }
}

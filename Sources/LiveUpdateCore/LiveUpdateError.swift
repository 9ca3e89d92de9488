// SPDX-License-Identifier: Apache-2.0
public import LiveUpdateHandover
public import LiveUpdatePlatform
public import SystemPackage

/// The reason why a call failed: the kernel's errno, the reason in words, and a remedy.
public struct LiveUpdateError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The errno that the kernel's orchestrator would return, as a positive number.
    public let errno: Errno
    /// The reason in words.
    public let reason: String
    /// The remedy, if there is one.
    public let remedy: String?

    /// Makes an error. Without a remedy of its own, it gets the remedy that usually helps with this errno. Handlers
    /// throw these errors, too.
    public init(_ errno: Errno, _ reason: String, remedy: String? = nil) {
        self.errno = errno
        self.reason = reason
        self.remedy = remedy ?? Self.remedy(for: errno, reason)
    }

    /// Makes an error from a failed system call.
    ///
    /// - Parameters:
    ///   - error: the name of the system call, and its errno.
    ///   - doing: the operation that made the call.
    public init(_ error: SystemCallError, _ doing: String) {
        self.init(error.errno, "\(doing): \(error.call)")
    }

    /// Makes an error from an error of the arena.
    public init(_ error: ArenaError) {
        self.init(error.errno, "\(error)")
    }

    public var description: String {
        guard let remedy else { return "\(reason) (\(errno))" }
        return "\(reason) (\(errno)); \(remedy)"
    }

    /// The reason without the file's token at its beginning, for a list that names the file already. Handlers begin
    /// their reasons with the token.
    func reason(ofToken token: UInt64) -> String {
        let subject = "token \(token)"
        guard reason.hasPrefix(subject) else { return reason }
        let rest = reason.dropFirst(subject.count)
        if rest.hasPrefix(": ") || rest.hasPrefix(", ") { return String(rest.dropFirst(2)) }
        return rest.hasPrefix(" ") ? "it\(rest)" : reason
    }

    /// The advice for a missing file, by its place. A file of a process is missing when the process has ended; the
    /// other files of the kernel are missing when their file system is not mounted, or the kernel does not have them.
    private static func remedyForAMissingFile(_ reason: String) -> String {
        let words = reason.split(separator: " ").map { $0.drop { !$0.isLetter && $0 != "/" } }
        for word in words where word.hasPrefix("/proc/") {
            let isProcess = word.dropFirst("/proc/".count).first?.isNumber == true
            return isProcess ? "look whether the process runs" : "look whether /proc is mounted"
        }
        let isOfSys = words.contains { $0.hasPrefix("/sys/") }
        return isOfSys
            ? "look whether /sys is mounted, and whether this kernel has it" : "look whether the path is right"
    }

    private static func remedy(for errno: Errno, _ reason: String) -> String? {
        switch errno {
        case .tooManyOpenFiles: "raise the limit on open files (ulimit -n, LimitNOFILE=)"
        case .tooManyOpenFilesInSystem: "raise fs.file-max"
        case .noSpace: "raise the arena's limit, or give its file system more room"
        case .readOnlyFileSystem: "mount the file system for writing"
        case .permissionDenied: "look at the permissions of the file, and of the directories that lead to it"
        case .fileNameTooLong: "give it a shorter name"
        case .notPermitted: "run as root, or with the capability that capabilities(7) lists for it"
        case .ioError: "the arena is damaged, or of another version: luoctl inspect shows the readable part"
        case .badFileDescriptor: "pass a descriptor that is open"
        case .noMemory: "free memory, or raise the limits on it (ulimit -v, MemoryMax=)"
        case .noSuchFileOrDirectory: remedyForAMissingFile(reason)
        case .noFunction: "use a kernel that has this call: Linux 5.9 or later, see README.md"
        case .resourceTemporarilyUnavailable: "another process has it: wait for its end, or use another"
        default: nil
        }
    }
}

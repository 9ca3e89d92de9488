// SPDX-License-Identifier: Apache-2.0
package import SystemPackage

/// A lock that an open file description holds: flock(2), or a lock of the description by fcntl(2), F_OFD_SETLK. It
/// lasts as long as a process holds a descriptor of the description.
package struct FileLock: Equatable, Sendable, CustomStringConvertible {
    package enum Kind: Sendable { case flock, description }

    package let kind: Kind
    /// Whether no other description can have a lock there.
    package let isExclusive: Bool
    /// The first and the last byte of the lock. A lock without a last byte reaches to the end of the file, however long
    /// the file grows. Nil for a lock of the whole file.
    package let range: (first: UInt64, last: UInt64?)?

    package static func == (one: FileLock, other: FileLock) -> Bool { one.description == other.description }

    /// The lock in words: `flock exclusive`, `ofd write 0-99`.
    package var description: String {
        let range = range.map { " \($0.first)-\($0.last.map { "\($0)" } ?? "")" } ?? ""
        return switch kind {
        case .flock: "flock \(isExclusive ? "exclusive" : "shared")"
        case .description: "ofd \(isExclusive ? "write" : "read")\(range)"
        }
    }

    /// The locks of a descriptor's open file description. This reads 4 KiB of /proc/self/fdinfo at most. The list is
    /// empty where the kernel does not show locks.
    package static func all(of descriptor: FileDescriptor) -> [FileLock] {
        guard let file = try? openFile("/proc/self/fdinfo/\(descriptor.rawValue)"),
            let text = try? readText(file.borrowed, atMost: 4096)
        else { return [] }
        return locks(inInfo: text)
    }

    /// Reads the lines `lock: 1: FLOCK  ADVISORY  WRITE 4711 00:01:1540 0 EOF` (proc_pid_fdinfo(5)). Locks of processes
    /// are left out: they do not belong to the description.
    static func locks(inInfo text: String) -> [FileLock] {
        text.split(separator: "\n").compactMap { line in
            guard line.hasPrefix("lock:") else { return nil }
            return FileLock(line.dropFirst(5).split(whereSeparator: { $0 == " " || $0 == "\t" }))
        }
    }

    private init?(_ words: [Substring]) {
        guard words.count == 8, let first = UInt64(words[6]) else { return nil }
        switch words[1] {
        case "FLOCK": kind = .flock
        case "OFDLCK": kind = .description
        default: return nil
        }
        isExclusive = words[3] == "WRITE"
        let last = words[7] == "EOF" ? nil : UInt64(words[7])
        range = first == 0 && last == nil ? nil : (first, last)
    }
}

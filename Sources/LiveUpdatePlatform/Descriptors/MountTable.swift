// SPDX-License-Identifier: Apache-2.0
import Glibc
package import SystemPackage

/// A mounted file system: a line of mountinfo (proc(5)).
package struct Mount: Equatable, Sendable {
    /// The mount ID.
    package let number: UInt64
    /// The mount that contains the mount point. The parent of the root of all visible mounts is not in the table, or is
    /// the root itself.
    package let parent: UInt64
    /// `st_dev` of the files on the mount.
    package let device: UInt64
    /// The bytes of the mount point's path. They need not be UTF-8.
    package let pointBytes: [UInt8]
    /// The type, as mount(8) calls it: `hugetlbfs`
    package let type: String
    /// The options of the file system itself, such as `pagesize=2M`: the last field of the line.
    package let fileSystemOptions: [String]

    /// The mount point.
    package var point: FilePath { FilePath(bytes: pointBytes) }

    /// All mounts that this thread sees, in its mount namespace.
    ///
    /// - Throws: ENOENT without /proc.
    package static func all() throws(SystemCallError) -> [Mount] { all(in: try readBytes(mountTablePath)) }

    /// The mounts of a table. Lines that describe no mount are left out.
    static func all(in table: [UInt8]) -> [Mount] {
        table.split(separator: UInt8(ascii: "\n")).compactMap { Mount(line: $0) }
    }

    /// Parses a line; nil when it does not describe a mount.
    package init?(line: ArraySlice<UInt8>) {
        var fields = MountFields(line)
        guard let number = fields.number(), let parent = fields.number(), let device = fields.device(),
            fields.next() != nil, let point = fields.next(), fields.next() != nil, let type = fields.type()
        else { return nil }
        self.number = number
        self.parent = parent
        self.device = device
        pointBytes = point.unescaped
        self.type = type
        _ = fields.next()
        fileSystemOptions = String(decoding: fields.next() ?? [], as: UTF8.self).split(separator: ",").map(String.init)
    }
}

/// Reads the fields of a line of mountinfo from left to right. A table can have thousands of lines.
private struct MountFields {
    private var rest: ArraySlice<UInt8>

    init(_ line: ArraySlice<UInt8>) { rest = line }

    /// The bytes up to the next space; nil at the end of the line.
    mutating func next() -> ArraySlice<UInt8>? {
        guard !rest.isEmpty else { return nil }
        let end = rest.firstIndex(of: UInt8(ascii: " ")) ?? rest.endIndex
        defer { rest = rest[end...].dropFirst() }
        return rest[..<end]
    }

    mutating func number() -> UInt64? { next().flatMap { Self.number($0) } }

    mutating func device() -> UInt64? {
        guard let field = next(), let colon = field.firstIndex(of: UInt8(ascii: ":")),
            let major = Self.number(field[..<colon]), let minor = Self.number(field[colon...].dropFirst())
        else { return nil }
        return deviceNumber(major: major, minor: minor)
    }

    /// The type, which is behind the optional fields and a hyphen.
    mutating func type() -> String? {
        while let field = next() {
            if field.count == 1, field.first == UInt8(ascii: "-") {
                guard let type = next(), !type.isEmpty else { return nil }
                return String(decoding: type, as: UTF8.self)
            }
        }
        return nil
    }

    private static func number(_ digits: ArraySlice<UInt8>) -> UInt64? {
        guard (1...19).contains(digits.count) else { return nil }
        var value: UInt64 = 0
        for digit in digits {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
            value = value * 10 + UInt64(digit - UInt8(ascii: "0"))
        }
        return value
    }
}

extension ArraySlice<UInt8> {
    /// The path without escapes. The table writes spaces, tabs, newlines and backslashes as a backslash and three octal
    /// digits.
    fileprivate var unescaped: [UInt8] {
        guard contains(UInt8(ascii: "\\")) else { return Array(self) }
        var bytes: [UInt8] = []
        var rest = self
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "\\"), let value = rest.octalByte else {
                bytes.append(byte)
                continue
            }
            bytes.append(value)
            rest = rest.dropFirst(3)
        }
        return bytes
    }

    /// The value of the first three bytes, if they are octal digits of a byte.
    private var octalByte: UInt8? {
        guard count >= 3 else { return nil }
        var value = 0
        for digit in prefix(3) {
            guard (UInt8(ascii: "0")...UInt8(ascii: "7")).contains(digit) else { return nil }
            value = value * 8 + Int(digit - UInt8(ascii: "0"))
        }
        return UInt8(exactly: value)
    }
}

/// The table of the calling thread, because threads can have mount namespaces of their own.
private let mountTablePath = "/proc/thread-self/mountinfo"

/// The mounts of a mount namespace. The table is read again only after it has changed.
///
/// 1. The first call of ``mounts()`` opens mountinfo of the calling thread, reads it, and leaves it open.
/// 2. Each later call polls the open file, which says whether a mount was made or removed since (proc(5), `POLLPRI`).
/// 3. In a thread of another mount namespace, ``forgetIfForeign()`` begins again with 1.
package final class MountTable: Sendable {
    private struct Cache: Sendable {
        /// mountinfo, open. Nil when nothing was read.
        var file: FileDescriptor?
        /// The mount namespace of the file. As long as the file is open, no other namespace gets this identity.
        var namespace: FileIdentity?
        var mounts: [Mount] = []

        mutating func drop() {
            if let file { try? closeDescriptor(file) }
            self = Cache()
        }
    }

    private let cache = Guarded(Cache())

    /// Reads nothing yet.
    package init() {}

    deinit { cache.with { $0.drop() } }

    /// All mounts at this moment. If threads have mount namespaces of their own, these can be the mounts of another
    /// thread.
    ///
    /// - Throws: ENOENT without /proc, EMFILE. A later call tries again.
    package func mounts() throws(SystemCallError) -> [Mount] {
        try cache.with { (cache) throws(SystemCallError) in
            do throws(SystemCallError) {
                if let file = cache.file, !Self.hasChanged(file) { return cache.mounts }
                try Self.read(into: &cache)
                return cache.mounts
            } catch {
                // poll(2) reports a change of the table only once.
                cache.drop()
                throw error
            }
        }
    }

    /// Closes the table if it is not that of the calling thread's mount namespace. The next call of ``mounts()`` reads
    /// the thread's own.
    ///
    /// - Returns: whether it was another namespace's.
    package func forgetIfForeign() -> Bool {
        guard let namespace = try? Self.namespace() else { return false }
        return cache.with { cache in
            guard cache.file != nil, cache.namespace != namespace else { return false }
            cache.drop()
            return true
        }
    }

    private static func namespace() throws(SystemCallError) -> FileIdentity {
        try FileStatus(at: "/proc/thread-self/ns/mnt").identity
    }

    private static func read(into cache: inout Cache) throws(SystemCallError) {
        if let file = cache.file {
            try file.setPosition(0)
        } else {
            cache.file = try openFile(mountTablePath).release()
            cache.namespace = try namespace()
        }
        if let file = cache.file { cache.mounts = Mount.all(in: try readBytes(file)) }
    }

    /// Whether a mount was made or removed since the file was opened, or since the last call: poll(2). In doubt, true.
    private static func hasChanged(_ file: FileDescriptor) -> Bool {
        var event = pollfd(fd: file.rawValue, events: Int16(POLLPRI), revents: 0)
        return unsafe poll(&event, 1, 0) != 0
    }
}

/// The `st_dev` of the two numbers that procfs shows: makedev(3).
func deviceNumber(major: UInt64, minor: UInt64) -> UInt64 {
    (minor & 0xFF) | (major & 0xFFF) << 8 | (minor & ~0xFF) << 12 | (major & ~0xFFF) << 32
}

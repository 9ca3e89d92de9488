public import SystemPackage

/// A mounted file system: a line of /proc/thread-self/mountinfo (proc(5)).
public struct Mount: Equatable, Sendable {
    /// The mount ID.
    public let number: UInt64
    /// The mount that has the mount point. The root of what can be seen has a parent that is not in the table, or itself.
    public let parent: UInt64
    /// `st_dev` of its files.
    public let device: UInt64
    /// Where it is mounted. Its bytes need not be UTF-8.
    public let point: FilePath
    /// As mount(8) calls it: `hugetlbfs`
    public let type: String

    /// All that this thread sees, in its mount namespace.
    ///
    /// - Throws: ENOENT without /proc.
    public static func all() throws(SystemCallError) -> [Mount] {
        try readBytes("/proc/thread-self/mountinfo").split(separator: UInt8(ascii: "\n"))
            .compactMap { Mount(line: $0) }
    }

    /// Reads a line; nil when it is none.
    package init?(line: some Collection<UInt8>) {
        let fields = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
        // Optional fields end with a hyphen of its own; the type is behind it.
        guard fields.count > 6, let hyphen = fields[6...].firstIndex(where: { $0.elementsEqual("-".utf8) }),
            fields.count > hyphen + 1, let number = Self.number(fields[0]), let parent = Self.number(fields[1]),
            let device = Self.device(fields[2])
        else { return nil }
        self.number = number
        self.parent = parent
        self.device = device
        point = FilePath(bytes: Self.unescaped(fields[4]))
        type = String(decoding: fields[hyphen + 1], as: UTF8.self)
    }

    private static func number(_ text: some Collection<UInt8>) -> UInt64? {
        UInt64(String(decoding: text, as: UTF8.self))
    }

    private static func device(_ text: some Collection<UInt8>) -> UInt64? {
        let parts = text.split(separator: UInt8(ascii: ":"))
        guard parts.count == 2, let major = number(parts[0]), let minor = number(parts[1]) else { return nil }
        return deviceNumber(major: major, minor: minor)
    }

    /// Spaces, tabs, newlines and backslashes are written as a backslash and three octal digits.
    private static func unescaped(_ text: some Collection<UInt8>) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = Array(text)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "\\"),
                let value = UInt8(String(decoding: rest.prefix(3), as: UTF8.self), radix: 8)
            else {
                bytes.append(byte)
                continue
            }
            bytes.append(value)
            rest = rest.dropFirst(3)
        }
        return bytes
    }
}

/// `st_dev` of the two numbers that procfs shows: makedev(3).
func deviceNumber(major: UInt64, minor: UInt64) -> UInt64 {
    (minor & 0xFF) | (major & 0xFFF) << 8 | (minor & ~0xFF) << 12 | (major & ~0xFFF) << 32
}

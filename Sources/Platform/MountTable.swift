import SystemPackage

/// A mounted file system: a line of /proc/self/mountinfo (proc(5)).
public struct Mount: Equatable, Sendable {
    /// `st_dev` of its files.
    public let device: UInt64
    /// Where it is mounted.
    public let point: String
    /// As mount(8) calls it: `hugetlbfs`
    public let type: String

    /// All that this process sees, in its mount namespace.
    ///
    /// - Throws: ENOENT without /proc.
    public static func all() throws(SystemCallError) -> [Mount] {
        try readWhole("/proc/self/mountinfo").split(separator: "\n").compactMap { Mount(line: $0) }
    }

    /// Reads a line; nil when it is none.
    init?(line: some StringProtocol) {
        let fields = line.split(separator: " ", omittingEmptySubsequences: false)
        // Optional fields end with a hyphen of its own; the type is behind it.
        guard fields.count > 6, let hyphen = fields[6...].firstIndex(of: "-"), fields.count > hyphen + 1,
            let device = Self.device(fields[2])
        else { return nil }
        self.device = device
        point = Self.unescaped(fields[4])
        type = String(fields[hyphen + 1])
    }

    private static func device(_ text: some StringProtocol) -> UInt64? {
        let parts = text.split(separator: ":")
        guard parts.count == 2, let major = UInt64(parts[0]), let minor = UInt64(parts[1]) else { return nil }
        return deviceNumber(major: major, minor: minor)
    }

    /// Spaces, tabs, newlines and backslashes are written as a backslash and three octal digits.
    private static func unescaped(_ text: some StringProtocol) -> String {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
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
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// `st_dev` of the two numbers that procfs shows: makedev(3).
func deviceNumber(major: UInt64, minor: UInt64) -> UInt64 {
    (minor & 0xFF) | (major & 0xFFF) << 8 | (minor & ~0xFF) << 12 | (major & ~0xFFF) << 32
}

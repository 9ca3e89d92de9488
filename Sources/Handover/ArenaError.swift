public import SystemPackage

/// Why an arena could not be opened, read, or written.
public struct ArenaError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Which check said no, in the order in which they are made. What stands behind the gate that refused was not
    /// looked at.
    public enum Gate: String, Sendable {
        /// Another process runs this arena.
        case owner
        /// The file is shorter than it says, or cannot be mapped or grown.
        case size
        /// It is not an arena.
        case magic
        /// It was written by a version that this one does not know.
        case version
        /// A part that the superblock names does not have its checksum.
        case checksum
        /// A record is not whole, or not in sequence.
        case journal
        /// The tree is not what the format says.
        case tree
        /// A record says what cannot be.
        case record
        /// There is no room under the limit.
        case space
    }

    /// Which check said no.
    public let gate: Gate
    /// EAGAIN (owner), ENOSPC (space), the kernel's own (size), EIO (everything else).
    public let errno: Errno
    /// What was found, and where.
    public let reason: String

    /// Says why.
    public init(_ gate: Gate, _ reason: String, errno: Errno = .ioError) {
        self.gate = gate
        self.errno = errno
        self.reason = reason
    }

    public var description: String { "arena: \(gate.rawValue): \(reason)" }
}

// SPDX-License-Identifier: Apache-2.0
public import SystemPackage

/// Why an arena could not be opened, read, or written.
public struct ArenaError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The checks, in the order in which they are made. Nothing after the failed check was looked at.
    public enum Gate: String, Sendable {
        /// Another process runs this arena.
        case owner
        /// The file is shorter than its superblock says, or cannot be mapped or grown.
        case size
        /// The file is not an arena.
        case magic
        /// The arena was written by a version that this one does not know.
        case version
        /// A part that the superblock names does not have its checksum.
        case checksum
        /// A record is damaged, or not in sequence.
        case journal
        /// The tree does not follow the format.
        case tree
        /// A record has an invalid value.
        case record
        /// There is no room below the limit.
        case space
    }

    /// The check that failed.
    public let gate: Gate
    /// The error: EAGAIN (owner), ENOSPC (space), the error of the kernel (size), EIO (everything else).
    public let errno: Errno
    /// The wrong value, and its place.
    public let reason: String

    /// Makes an error.
    public init(_ gate: Gate, _ reason: String, errno: Errno = .ioError) {
        self.gate = gate
        self.errno = errno
        self.reason = reason
    }

    public var description: String { "arena: \(gate.rawValue): \(reason)" }
}

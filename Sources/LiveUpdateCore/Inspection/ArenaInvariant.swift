// SPDX-License-Identifier: Apache-2.0

/// A rule that holds in every arena that a boot has written. `luoctl inspect` checks each of them by itself, also after
/// another one is broken.
package enum ArenaInvariant: String, CaseIterable, Sendable {
    /// The superblock has the magic, the version and the page size, and the file is as long as the superblock says.
    case superblock
    /// The table of slots is that of the superblock's generation, and no slot or table is newer than it can be.
    case generations
    /// Each checksum is right: of tables, trees, the journal's header, its records, and stored ranges.
    case sums
    /// Each range begins at a granule, and lies between the superblock and the arena's end.
    case ranges
    /// No range overlaps another.
    case overlap
    /// The journal has a header, and records in sequence that can be decoded.
    case journal
    /// Each tree can be read: all offsets and counts lead to records within the tree.
    case tree
    /// The tree's list of ranges in use names exactly what the tree reaches.
    case reachability
    /// The outgoing tree hands over the sessions and files of the journal, while the journal says *freezing*.
    case agreement
    /// Each number of a session, file or FLB is given once. No number is 2^62 or more, because no boot counts so far.
    case numbers
    /// Each record is about a session, file or FLB that is there.
    case references
    /// Session names have 1 to 63 bytes, and no user has a name twice in one direction. Compatible strings have 1 to 47
    /// bytes, and no FLB has the string of another one of its kind.
    case names
    /// No session has a token twice.
    case tokens
    /// No user holds a file twice.
    case holds
    /// No slot of a held descriptor belongs to two files or sessions.
    case slots
    /// An FLB counts the files that count on it.
    case counts
    /// A file that was left out of an update is incoming, and has an errno and a reason.
    case leftOut = "left-out"
    /// The handler's record can be read; its extents ascend, do not overlap, and lie within the file's size.
    case fileRecords = "file-records"

    /// The effect on the user if the invariant is broken.
    package var consequence: String {
        switch self {
        case .superblock, .generations, .journal, .ranges, .overlap, .numbers, .references, .names, .tokens, .holds,
            .leftOut:
            "no boot opens the arena; start from a copy of it, or without it"
        case .sums: "the damaged part is not used; a boot that needs it refuses the arena"
        case .tree, .reachability: "the next boot refuses the tree; the old boot can thaw and publish another one"
        case .agreement: "the update would lose or mix up files; thaw, and publish again"
        case .slots: "a client could get the file of another token; close the session, and preserve its files again"
        case .counts: "the FLB is finished too early or never; close the sessions of its files, and preserve them again"
        case .fileRecords: "the file cannot be retrieved; close its session, and preserve the file again"
        }
    }
}

/// One place at which an arena breaks an invariant.
package struct BrokenInvariant: Equatable, Sendable {
    /// The invariant.
    package let invariant: ArenaInvariant
    /// The place: the record and its offset, or the part of the arena.
    package let place: String
    /// The contradiction, with the session, token, range or number.
    package let reason: String

    /// Describes a broken invariant.
    package init(_ invariant: ArenaInvariant, _ place: String, _ reason: String) {
        self.invariant = invariant
        self.place = place
        self.reason = reason
    }
}

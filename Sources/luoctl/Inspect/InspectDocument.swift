// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCommandLine

/// The content of an arena, as `luoctl inspect --json` prints it. The text is made from it, too.
///
/// docs/inspect.md describes the fields. Raise `version` when a field changes its meaning.
struct InspectDocument: Encodable {
    /// A failed check of a part of the arena.
    struct Failure: Encodable {
        var gate: String
        var reason: String
    }

    /// A broken invariant.
    struct Broken: Encodable {
        var invariant: String
        var place: String
        var reason: String
        var consequence: String
    }

    struct Invariants: Encodable {
        /// The invariants that could be checked.
        var checked: [String]
        var broken: [Broken]
    }

    struct File: Encodable {
        var size: UInt64
        /// Absent if the kernel does not tell.
        var locked: Bool?
        /// Whether the boot committed nothing while the file was read.
        var settled: Bool
    }

    struct Word: Encodable {
        var value: UInt64
        var failure: Failure?
    }

    struct Superblock: Encodable {
        var magic: Word
        var version: Word
        var pageSize: Word
        var size: Word
        var generation: UInt64
    }

    struct Slot: Encodable {
        var part: String
        /// Absent if the slot is empty.
        var offset: UInt64?
        var size: UInt64?
        var generation: UInt64
        var checksum: UInt32
        var failure: Failure?
    }

    struct Table: Encodable {
        var offset: UInt64
        var generation: UInt64
        var whole: Bool
        /// Whether the superblock's generation selects this table.
        var current: Bool
        /// Whether the rest of the document was read from this table.
        var used: Bool
        var slots: [Slot]
    }

    struct Record: Encodable {
        var sequence: UInt64
        var offset: UInt64
        /// Absent if the event cannot be decoded.
        var event: String?
        var failure: Failure?
    }

    struct Journal: Encodable {
        var offset: UInt64
        var size: UInt64
        var firstSequence: UInt64
        var tail: UInt64
        /// The number of complete records.
        var records: Int
        /// The reason why there are no more records.
        var failure: Failure?
        /// Only with `--log`.
        var log: [Record]?
    }

    struct Flattened: Encodable {
        var name: String
        var offset: UInt64
        var dts: String?
        var failure: Failure?
    }

    struct Tree: Encodable {
        var part: String
        var offset: UInt64
        var size: UInt64
        /// In nanoseconds of CLOCK_MONOTONIC.
        var freezeStart: UInt64?
        var freezeEnd: UInt64?
        var journalRoomOffset: UInt64?
        var journalRoomSize: UInt64?
        var failure: Failure?
        var flattened: [Flattened]
        var state: InspectedBoot?
    }

    var version = 1
    var arena: String
    var sound: Bool
    /// The first failure is from the gate that refuses the arena.
    var failures: [Failure]
    var invariants: Invariants
    var file: File
    var superblock: Superblock?
    var tables: [Table]
    var journal: Journal?
    /// The state according to the journal.
    var state: InspectedBoot?
    var trees: [Tree]

    var json: String { jsonText(self) }
}

/// The state of a boot: the part of the document that the journal and the trees have in common.
struct InspectedBoot: Encodable {
    typealias Failure = InspectDocument.Failure

    /// A range that a callback stored.
    struct Stored: Encodable {
        var offset: UInt64
        var size: UInt64
        var checksum: UInt32
        var failure: Failure?
    }

    struct Run: Encodable {
        var offset: UInt64
        var size: UInt64
        /// The frame of the first base page; absent if it is not recorded.
        var frame: UInt64?
    }

    /// The content of the handler's record, if the handler is one of this package.
    struct Pages: Encodable {
        var size: UInt64
        var position: UInt64
        var pageSize: UInt64
        var present: UInt64
        /// Absent for files without a path.
        var path: String?
        /// Absent if the seals are not recorded.
        var seals: [String]?
        /// Only with `--pages`.
        var runs: [Run]?
    }

    struct File: Encodable {
        var token: UInt64
        var compatible: String
        var slot: Int64
        var device: UInt64
        var inode: UInt64
        var data: UInt64
        /// The kernel's value: 0 not tried, 1 done, negative the errno.
        var retrieveStatus: Int32
        /// The reason why the update that handed the file over left it out; absent for all other files.
        var problem: String?
        var flbs: [String]
        var stored: [Stored]
        /// Absent for a handler of another package, and for a boot that is over.
        var pages: Pages?
        /// The reason why the handler's record cannot be read.
        var failure: Failure?
    }

    struct Session: Encodable {
        var name: String
        var direction: String
        var progress: String
        var files: [File]
    }

    struct FLB: Encodable {
        var compatible: String
        var direction: String
        var discarded: Bool
        var count: UInt64
        var data: UInt64
        var retrieveStatus: Int32
        var stored: [Stored]
    }

    var updates: UInt64
    /// "running", "freezing" or "published"; absent for a tree.
    var phase: String?
    var sessions: [Session]
    var flbs: [FLB]
}

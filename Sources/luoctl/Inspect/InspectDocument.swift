/// What an arena holds, as `luoctl inspect --json` prints it; the text is made from it, too. docs/inspect.md describes
/// it: raise `version` when what is there changes its meaning.
struct InspectDocument: Encodable {
    /// Why something is not believed.
    struct Failure: Encodable {
        var gate: String
        var reason: String
    }

    struct File: Encodable {
        var size: UInt64
        /// Absent when the kernel does not say.
        var locked: Bool?
        /// Whether nothing was committed while it was read.
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
        /// Absent when it is empty.
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
        /// Whether the superblock's generation says that it is true.
        var current: Bool
        /// Whether what follows was read from it.
        var used: Bool
        var slots: [Slot]
    }

    struct Record: Encodable {
        var sequence: UInt64
        var offset: UInt64
        /// Absent when it makes no sense.
        var event: String?
        var failure: Failure?
    }

    struct Journal: Encodable {
        var offset: UInt64
        var size: UInt64
        var firstSequence: UInt64
        var tail: UInt64
        /// Those that are whole.
        var records: Int
        /// Why there are no more.
        var failure: Failure?
        /// With `--log`.
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
        /// CLOCK_MONOTONIC, in nanoseconds.
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
    /// The first one is the gate that refuses.
    var failures: [Failure]
    var file: File
    var superblock: Superblock?
    var tables: [Table]
    var journal: Journal?
    /// By the journal.
    var state: InspectedBoot?
    var trees: [Tree]

    var json: String { jsonText(self) }
}

/// What is true in a boot: the part of the document that the journal and the trees have in common.
struct InspectedBoot: Encodable {
    typealias Failure = InspectDocument.Failure

    /// A range that a callback has stored.
    struct Stored: Encodable {
        var offset: UInt64
        var size: UInt64
        var checksum: UInt32
        var failure: Failure?
    }

    struct Run: Encodable {
        var offset: UInt64
        var size: UInt64
        /// Of the first base page; absent where it is not recorded.
        var frame: UInt64?
    }

    /// What the handler's record says, where it is one of ours.
    struct Pages: Encodable {
        var size: UInt64
        var position: UInt64
        var pageSize: UInt64
        var present: UInt64
        /// Absent for files without a name.
        var path: String?
        /// Absent where they are not recorded.
        var seals: [String]?
        /// With `--pages`.
        var runs: [Run]?
    }

    struct File: Encodable {
        var token: UInt64
        var compatible: String
        var slot: Int64
        var device: UInt64
        var inode: UInt64
        var data: UInt64
        /// The kernel's: 0 not tried, 1 done, negative the errno.
        var retrieveStatus: Int32
        /// The reason why the update that handed the file over left it out; absent for all other files.
        var problem: String?
        var flbs: [String]
        var stored: [Stored]
        /// Absent for a handler of others, and of a boot that is over.
        var pages: Pages?
        /// Why its handler's record cannot be read.
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

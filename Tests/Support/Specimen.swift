// SPDX-License-Identifier: Apache-2.0
package import LiveUpdateCore
package import LiveUpdateHandover
package import LiveUpdatePlatform
import SystemPackage

/// A small populated arena. It is mapped, so that a test can damage and restore it many thousand times.
package final class Specimen {
    /// The name of the arena's state.
    package let name: String
    /// The file with the arena.
    package let file: MemoryFile
    private let mapping: Mapping
    private let whole: [UInt8]
    /// The parts that readers read: the superblock, the journal up to its tail, the trees.
    package let places: [Extent]
    /// The ranges of the journal's records.
    private let records: [Extent]

    /// Copies the arena of a machine.
    package init(_ name: String, _ machine: Machine) throws {
        self.name = name
        whole = try machine.file.bytes()
        file = try MemoryFile(name, bytes: whole)
        mapping = try Mapping(of: file.descriptor, length: UInt64(whole.count), .shared(writable: true))
        let arena = try machine.openArena()
        let records = Self.records(whole, try arena.journalRecords().count, arena.journal)
        self.records = records
        let journal = arena.journal.map { Extent(offset: $0.offset, length: (records.last?.end ?? 0) - $0.offset) }
        let trees = [arena.incomingTree, arena.outgoingTree]
        places = [Extent(offset: 0, length: 288)] + (trees + [journal]).compactMap { $0 }
    }

    private static func records(_ bytes: [UInt8], _ count: Int, _ journal: Extent?) -> [Extent] {
        var at = (journal?.offset ?? 0) + 64
        return (0..<count).map { _ in
            defer { at += UInt64(integer(UInt32.self, bytes, at: Int(at))) }
            return Extent(offset: at, length: UInt64(integer(UInt32.self, bytes, at: Int(at))))
        }
    }

    /// Restores the initial bytes.
    package func restore() { restore(whole) }

    /// Restores bytes that ``copy()`` returned.
    package func restore(_ bytes: [UInt8]) {
        // SAFETY: the mapping is as long as the bytes, and no other thread uses it now.
        unsafe mapping.bytes.copyBytes(from: bytes)
    }

    package func copy() -> [UInt8] {
        // SAFETY: as above.
        unsafe [UInt8](mapping.bytes)
    }

    private subscript<Value: FixedWidthInteger>(_: Value.Type, at offset: Int) -> Value {
        // SAFETY: the mapping checks the range.
        get { unsafe mapping.bytes.loadUnaligned(fromByteOffset: offset, as: Value.self) }
        set { unsafe mapping.bytes.storeBytes(of: newValue, toByteOffset: offset, as: Value.self) }
    }

    // MARK: Damage

    private static let interesting: [UInt64] = [
        0, 1, 2, 7, 8, 40, 63, 64, 65, 4095, 4096, 1 << 16, 1 << 31, 1 << 32, 1 << 63, .max, .max - 1, .max - 7,
        .max - 63,
        UInt64(Int64.max), 0xFFFF_FFFF, 0xFFFF, 0xFF,
    ]

    /// Makes one to five changes of bits, bytes, and words. Words get values that break arithmetic, or values of other
    /// words.
    package func damage(_ generator: inout SeededGenerator) {
        for _ in 0...generator.index(below: 5) {
            let place = places[generator.index(below: places.count)]
            let at = Int(place.offset) + generator.index(below: Int(place.length))
            let word = min(at, whole.count - 8) / 8 * 8
            switch generator.index(below: 6) {
            case 0: self[UInt8.self, at: at] ^= 1 << UInt8(generator.index(below: 8))
            case 1: self[UInt8.self, at: at] = UInt8(truncatingIfNeeded: generator.next())
            case 2: self[UInt64.self, at: word] = Self.interesting[generator.index(below: Self.interesting.count)]
            case 3:
                self[UInt32.self, at: word] = UInt32(truncatingIfNeeded: Self.interesting[generator.index(below: 23)])
            case 4: self[UInt64.self, at: word] &+= 1 &- 2 * (generator.next() & 1)
            default: self[UInt64.self, at: word] = self[UInt64.self, at: Int(place.offset) / 8 * 8]
            }
        }
    }

    /// Repairs all checksums, so that readers read the content that they protect.
    package func repair() {
        for record in records { repairRecord(at: Int(record.offset)) }
        for table in [64, 192] {
            for (slot, covered) in [(table, nil), (table + 32, nil), (table + 64, 24 as Int?)] {
                repairSlot(at: slot, covered)
            }
            self[UInt32.self, at: table + 104] = checksum(table..<table + 104)
        }
    }

    private func repairRecord(at offset: Int) {
        let length = Int(self[UInt32.self, at: offset])
        guard length >= 8, offset + length <= whole.count else { return }
        self[UInt32.self, at: offset + 4] = checksum(offset + 8..<offset + length)
    }

    private func repairSlot(at slot: Int, _ covered: Int?) {
        let offset = self[UInt64.self, at: slot]
        let size = covered.map { UInt64($0) } ?? self[UInt64.self, at: slot + 8]
        let end = UInt64(whole.count)
        guard offset > 0, offset <= end, size <= end - offset else { return }
        let own = checksum(slot..<slot + 24)
        self[UInt32.self, at: slot + 24] = checksum(Int(offset)..<Int(offset + size), continuing: own)
    }

    private func checksum(_ range: Range<Int>, continuing previous: UInt32 = 0) -> UInt32 {
        // SAFETY: callers keep the range inside the mapping, which slicing checks.
        unsafe CRC32C.of(UnsafeRawBufferPointer(rebasing: mapping.bytes[range]), continuing: previous)
    }
}

extension Specimen {
    /// Options for a small arena.
    package static let options = Arena.Options(initialSize: 64 << 10, limit: 256 << 10)

    /// An arena of a running boot, with only a journal.
    package static func running() throws -> Specimen {
        let machine = try Machine(options)
        _ = try populate(machine)
        return try Specimen("running", machine)
    }

    /// An arena of an ended boot, with a journal and a published tree.
    package static func published() throws -> Specimen {
        let machine = try Machine(options)
        try populate(machine).publish()
        return try Specimen("published", machine)
    }

    /// An arena of the boot after it, which has objects of both directions and has published, too. It has a journal and
    /// two trees.
    package static func inBetween() throws -> Specimen {
        let machine = try Machine(options)
        try populate(machine).publish()
        let next = try machine.boot { try register($0) }
        let session = try next.retrieveSession("first")
        _ = try session.retrieve(token: 1)
        let file = try MemoryFile()
        try next.createSession("new").preserve(file.descriptor, token: 9)
        try next.publish(discardingUnfinished: true)
        return try Specimen("in between", machine)
    }

    /// An arena of a running boot with a file whose checksums were stored twice. The first checksums were freed.
    package static func attested() throws -> Specimen {
        let machine = try Machine(options)
        let session = try populate(machine).createSession("attested")
        let file = try MemoryFile()
        try session.preserve(file.descriptor, token: 7)
        for sum in [UInt32(1), 2] {
            guard let sums = FileSums(size: 4096, blockSize: 65536, sums: [sum]) else { fatalError("wrong sums") }
            try session.attest(token: 7, sums)
        }
        return try Specimen("attested", machine)
    }

    /// An arena of a boot with an incoming file that was left out. The boot has then left out another file, and
    /// published. The journal and a tree have marks.
    package static func leftOut() throws -> Specimen {
        let machine = try Machine(options)
        let first = try populate(machine)
        let session = try first.createSession("more")
        let (file, other) = (try MemoryFile(), try MemoryFile())
        try session.preserve(file.descriptor, token: unfreezable)
        try session.preserve(other.descriptor, token: 4, as: "holds-nothing-v1")
        try first.publish(leavingOut: true)
        let next = try machine.boot { try register($0) }
        let again = try next.createSession("again")
        try again.preserve(other.descriptor, token: 4, as: "holds-nothing-v1")
        let third = try MemoryFile()
        try again.preserve(third.descriptor, token: unfreezable)
        try next.publish(discardingUnfinished: true, leavingOut: true)
        return try Specimen("left out", machine)
    }

    private static let unfreezable: UInt64 = 99

    /// Registers two handlers that store three bytes for each file, with one FLB each, and a handler that holds
    /// nothing.
    package static func register(_ orchestrator: Orchestrator) throws {
        for compatible in ["a-v1", "b-v1"] {
            let handler = TestHandler(compatible) { hooks in
                hooks.preserve = { file throws(LiveUpdateError) in try file.storage.store([1, 2, 3]) }
                hooks.freeze = { file throws(LiveUpdateError) in
                    if file.token == unfreezable { throw LiveUpdateError(.staleNFSFileHandle, "another size") }
                    return file.data
                }
            }
            try orchestrator.register(handler)
            try orchestrator.register(TestFLB("flb-\(compatible)"), on: handler)
        }
        try orchestrator.register(TestHandler("holds-nothing-v1", holdsFile: false))
    }

    private static func populate(_ machine: Machine) throws -> Orchestrator {
        let orchestrator = try machine.boot { try register($0) }
        for name: SessionName in ["first", "second"] {
            let session = try orchestrator.createSession(name)
            for token in UInt64(1)...2 {
                let file = try MemoryFile()
                try session.preserve(file.descriptor, token: token)
            }
        }
        _ = try orchestrator.createSession("empty")
        return orchestrator
    }
}

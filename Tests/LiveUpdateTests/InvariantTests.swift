// SPDX-License-Identifier: Apache-2.0
import LiveUpdateDeviceTree
import LiveUpdateHandover
import LiveUpdatePlatform
import TestSupport
import Testing

@testable import LiveUpdateCore

/// The check of an arena's invariants, each by itself.
@Suite struct InvariantTests {
    /// A good arena, and one change that breaks one invariant.
    struct Break: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let invariant: ArenaInvariant
        /// Words of the reason or the place.
        let words: String
        var specimen: @Sendable () throws -> Specimen = { try .running() }
        /// Whether the checksums are made right again, so that only the content is wrong.
        var repairs = true
        let change: @Sendable (Specimen, Inspection) throws -> Void
    }

    private static let published: @Sendable () throws -> Specimen = { try .published() }
    private static let inBetween: @Sendable () throws -> Specimen = { try .inBetween() }

    /// The offset of the last record with these words.
    private static func record(_ words: String, _ found: Inspection) throws -> UInt64 {
        try #require(found.log.last { $0.words?.contains(words) == true }?.offset)
    }

    /// The offset of bytes in the outgoing tree.
    private static func place(of bytes: [UInt8], _ specimen: Specimen, _ found: Inspection) throws -> UInt64 {
        let tree = try #require(found.arena.place(of: .outgoingTree))
        let all = [UInt8](try specimen.file.bytes()[Int(tree.offset)..<Int(tree.end)])
        return tree.offset + UInt64(try #require(all.indices.first { all[$0...].starts(with: bytes) }))
    }

    /// The property of a flattened tree that is an offset.
    private static func header(
        _ node: String, _ name: String, _ specimen: Specimen, _ found: Inspection
    ) throws -> UInt64 {
        let tree = try #require(found.trees.last?.flattened.first { $0.name == node })
        let bytes = [UInt8](try specimen.file.bytes()[Int(tree.offset)..<Int(tree.offset) + 512])
        return try #require(try DeviceTreeReader(bytes).u64(name))
    }

    static let breaks: [Break] = [
        Break(testDescription: "another version", invariant: .superblock, words: "version 99") { specimen, _ in
            try specimen.file.write(word: UInt32(99), at: 8)
        },
        Break(testDescription: "a size that the file lacks", invariant: .superblock, words: "the file was cut") {
            specimen, _ in try specimen.file.write(word: UInt64(1) << 30, at: 16)
        },
        Break(testDescription: "a table of another generation", invariant: .generations, words: "the superblock of") {
            specimen, found in
            let generation = try #require(found.arena.words?.generation)
            try specimen.file.write(word: generation &+ 2, at: (generation % 2 == 0 ? 64 : 192) + 96)
        },
        Break(testDescription: "a slot that is newer than its table", invariant: .generations, words: "the journal") {
            specimen, found in
            let generation = try #require(found.arena.words?.generation)
            try specimen.file.write(word: generation &+ 5, at: (generation % 2 == 0 ? 64 : 192) + 64 + 16)
        },
        Break(testDescription: "a changed table", invariant: .sums, words: "the table of slots", repairs: false) {
            specimen, found in
            let generation = try #require(found.arena.words?.generation)
            try specimen.file.write(word: UInt32(1), at: (generation % 2 == 0 ? 64 : 192) + 104)
        },
        Break(testDescription: "a changed record", invariant: .sums, words: "wrong checksum", repairs: false) {
            specimen, found in
            try specimen.file.write([0xFF], at: try record("\"empty\" added", found) + 36)
        },
        Break(testDescription: "changed stored data", invariant: .sums, words: "of token 1 of session \"first\"") {
            specimen, found in
            try specimen.file.write([9], at: try #require(found.state?.sessions[0].files[0].status.data))
        },
        Break(
            testDescription: "changed checksums of a file", invariant: .sums,
            words: "of token 7 of session \"attested\"",
            specimen: { try .attested() }
        ) { specimen, found in
            let stored = try #require(found.state?.sessions.last?.files[0].stored.last)
            try specimen.file.write([9], at: stored.place.offset)
        },
        Break(
            testDescription: "checksums outside of the file's ranges", invariant: .ranges, words: "not in its ranges",
            specimen: { try .attested() }
        ) { specimen, found in
            try specimen.file.write(word: UInt64(64), at: try record("attested: sums", found) + 32)
        },
        Break(testDescription: "a range outside", invariant: .ranges, words: "range 1099511627776+") {
            specimen, found in
            try specimen.file.write(word: UInt64(1) << 40, at: try record("file 4 added", found) + 104)
        },
        Break(testDescription: "a range that begins between granules", invariant: .ranges, words: "of token 2") {
            specimen, found in
            let place = try #require(found.state?.sessions[0].files[1].stored[0].place.offset)
            try specimen.file.write(word: place + 8, at: try record("file 4 added", found) + 104)
        },
        Break(testDescription: "a range of two files", invariant: .overlap, words: "of token 2 of session \"first\"") {
            specimen, found in
            let place = try #require(found.state?.sessions[0].files[0].stored[0].place.offset)
            try specimen.file.write(word: place, at: try record("file 4 added", found) + 104)
        },
        Break(testDescription: "a range in the journal", invariant: .overlap, words: "the journal or a tree") {
            specimen, found in
            let place = try #require(found.arena.journal?.place.offset)
            try specimen.file.write(word: place + 64, at: try record("file 4 added", found) + 104)
        },
        Break(testDescription: "a record of an unknown type", invariant: .journal, words: "unknown type 77") {
            specimen, found in
            try specimen.file.write(word: UInt16(77), at: try record("\"empty\" added", found) + 16)
        },
        Break(
            testDescription: "slots for other files", invariant: .tree, words: "99 slots for 4 files",
            specimen: published
        ) { specimen, found in
            let header = try header("luo-slot", "luo-slot-header", specimen, found)
            try specimen.file.write(word: UInt64(99), at: header)
        },
        Break(
            testDescription: "a range that the tree's list lacks", invariant: .reachability, words: "in use",
            specimen: published
        ) { specimen, found in
            let map = try header("/", "preserved-memory-map", specimen, found)
            try specimen.file.write(word: UInt64(64), at: map + 8)
        },
        Break(
            testDescription: "a tree beside a running journal", invariant: .agreement, words: "not freezing",
            specimen: published
        ) { specimen, found in
            try specimen.file.write([0], at: try record("freezing", found) + 24)
        },
        Break(
            testDescription: "a token that the journal lacks", invariant: .agreement, words: "token 77",
            specimen: published
        ) { specimen, found in
            let file = try place(of: [0] + [UInt8]("a-v1".utf8) + [0], specimen, found) + 1
            try specimen.file.write(word: UInt64(77), at: file + 56)
        },
        Break(testDescription: "a number that is given twice", invariant: .numbers, words: "number 1 is given twice") {
            specimen, found in
            try specimen.file.write(word: UInt64(1), at: try record("\"empty\" added", found) + 24)
        },
        Break(testDescription: "a file of no session", invariant: .references, words: "session 999") {
            specimen, found in
            try specimen.file.write(word: UInt64(999), at: try record("token 2, \"a-v1\"", found) + 32)
        },
        Break(testDescription: "a name that is given twice", invariant: .names, words: "second outgoing session") {
            specimen, found in
            try specimen.file.write([UInt8]("first".utf8), at: try record("\"empty\" added", found) + 36)
        },
        Break(testDescription: "a token that is given twice", invariant: .tokens, words: "token 1 of session \"first\"")
        {
            specimen, found in try specimen.file.write(word: UInt64(1), at: try record("file 4 added", found) + 40)
        },
        Break(testDescription: "a file that is held twice", invariant: .holds, words: "as token 1") {
            specimen, found in
            let inode = try #require(found.state?.sessions[0].files[0].status.identity.inode)
            try specimen.file.write(word: inode, at: try record("file 4 added", found) + 64)
        },
        Break(testDescription: "a slot of two files", invariant: .slots, words: "and to token 1 of session \"first\"") {
            specimen, found in
            let slot = try #require(found.state?.sessions[0].files[0].status.slot.number)
            try specimen.file.write(word: slot, at: try record("file 4 added", found) + 48)
        },
        Break(
            testDescription: "an incoming FLB that counts more files", invariant: .counts, words: "counts 9 files",
            specimen: inBetween
        ) { specimen, found in
            let flb = try #require(
                found.log.first { $0.words?.contains("\"flb-a-v1\" added: incoming") == true }?.offset)
            try specimen.file.write(word: UInt64(9), at: flb + 41)
        },
        Break(
            testDescription: "an FLB of a tree that counts fewer files", invariant: .counts, words: "counts 3 files",
            specimen: published
        ) { specimen, found in
            let flb = try place(of: [UInt8]("flb-a-v1".utf8), specimen, found)
            try specimen.file.write(word: UInt64(3), at: flb + 56)
        },
        Break(
            testDescription: "a left-out file without an errno", invariant: .leftOut, words: "record",
            specimen: { try .leftOut() }
        ) { specimen, found in
            let file = try #require(found.log.first { $0.words?.contains("left out of the update") == true }?.offset)
            try specimen.file.write(word: Int32(0), at: file + 80)
        },
    ]

    @Test("Each broken invariant is found, and no other one", arguments: breaks)
    func broken(_ one: Break) throws {
        let specimen = try one.specimen()
        let before = Inspection(ArenaSnapshot(specimen.copy()))
        #expect(before.invariants.broken == [])
        try one.change(specimen, before)
        if one.repairs { specimen.repair() }
        let found = Inspection(ArenaSnapshot(specimen.copy())).invariants.broken
        #expect(Set(found.map(\.invariant)) == [one.invariant], "\(found)")
        #expect(found.contains { "\($0.place): \($0.reason)".contains(one.words) }, "\(found)")
    }

    @Test("Each invariant has a case above; luoctl adds that of the handlers' records")
    func everyInvariantIsBrokenOnce() {
        #expect(Set(Self.breaks.map(\.invariant)).union([.fileRecords]) == Set(ArenaInvariant.allCases))
    }

    @Test("Two broken invariants are both named, where a gate stops at the first") func twoAtOnce() throws {
        let specimen = try Specimen.running()
        let before = Inspection(ArenaSnapshot(specimen.copy()))
        try specimen.file.write(word: UInt64(1), at: try Self.record("file 4 added", before) + 40)
        try specimen.file.write([UInt8]("first".utf8), at: try Self.record("\"empty\" added", before) + 36)
        specimen.repair()
        let found = Inspection(ArenaSnapshot(specimen.copy()))
        #expect(found.failures.count == 1)
        #expect(found.invariants.broken.map(\.invariant) == [.tokens, .names])
    }

    @Test func goodArenasKeepAllInvariants() throws {
        for make in [
            { try Specimen.running() }, Self.published, Self.inBetween, { try .leftOut() }, { try .attested() },
        ] {
            let specimen = try make()
            #expect(Inspection(ArenaSnapshot(specimen.copy())).invariants.broken == [], "\(specimen.name)")
        }
        let checked = Inspection(ArenaSnapshot(try Specimen.inBetween().copy())).invariants.checked
        #expect(Set(checked).union([.fileRecords]) == Set(ArenaInvariant.allCases) && checked.count == 17)
        #expect(Inspection(ArenaSnapshot([7])).invariants.checked == [.superblock])
    }

    @Test("A damaged arena that a boot refuses breaks an invariant, too", arguments: 0..<4)
    func refusedArenas(kind: Int) throws {
        let seed = announcedSeed("invariants of damaged arenas, kind \(kind)")
        var generator = SeededGenerator(seed: seed &+ UInt64(kind))
        let make = [{ try Specimen.running() }, Self.published, Self.inBetween, { try .leftOut() }][kind]
        let specimen = try make()
        for round in 0..<Scale.count(1000) {
            specimen.damage(&generator)
            if Bool.random(using: &generator) { specimen.repair() }
            let found = Inspection(ArenaSnapshot(specimen.copy()))
            if !found.failures.isEmpty {
                #expect(!found.invariants.broken.isEmpty, "round \(round): \(found.failures)")
            }
            specimen.restore()
        }
    }
}

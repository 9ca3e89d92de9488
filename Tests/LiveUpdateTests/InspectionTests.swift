// SPDX-License-Identifier: Apache-2.0
import LiveUpdateDeviceTree
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateCore

/// Inspections of intact arenas and of damaged ones.
@Suite struct InspectionTests {
    private func inspect(_ specimen: Specimen) throws -> Inspection {
        Inspection(try ArenaSnapshot(of: specimen.file.descriptor))
    }

    private func names(_ state: InspectedState?) -> [String] { state?.sessions.map(\.name.description) ?? [] }

    /// The offset of a record of the journal, as the inspection reports it.
    private func place(ofRecord number: Int, _ specimen: Specimen) throws -> UInt64 {
        try #require(try inspect(specimen).arena.journal?.entries[number].offset)
    }

    // MARK: Intact arenas

    @Test func aRunningBoot() throws {
        let found = try inspect(try .running())
        let state = try #require(found.state)
        #expect(found.failures == [] && found.trees.isEmpty)
        #expect(state.updateNumber == 0 && !state.isFreezing && !state.isOver)
        #expect(names(state) == ["first", "second", "empty"])
        #expect(state.sessions.allSatisfy { $0.direction == .outgoing && $0.isOpen && !$0.isFinished })
        #expect(state.sessions.map { $0.files.map(\.status.token) } == [[1, 2], [1, 2], []])
        let file = try #require(state.sessions.first?.files.first)
        #expect(file.status.compatible == "a-v1" && file.flbs == ["flb-a-v1"])
        #expect(file.stored.map(\.place.offset) == [file.status.data] && file.stored[0].failure == nil)
        #expect(try found.records(of: file).read(at: file.status.data, count: 3) == [1, 2, 3])
        #expect(state.flbs.map(\.status.compatible) == ["flb-a-v1"])
        #expect(state.flbs.map(\.status.count) == [4])
    }

    @Test func aPublishedTree() throws {
        let found = try inspect(try .published())
        #expect(found.state?.isFreezing == true)
        let tree = try #require(found.trees.first)
        #expect(found.trees.count == 1 && tree.part == .outgoingTree && tree.failure == nil)
        #expect(tree.flattened.map(\.name.description) == ["/", "LUO", "luo-session", "luo-flb", "luo-slot"])
        #expect(tree.flattened.allSatisfy { $0.failure == nil && $0.source?.hasPrefix("/dts-v1/;\n") == true })
        #expect(names(tree.state) == ["first", "second", "empty"])
        #expect(tree.state?.updateNumber == 1 && tree.state?.isOver == false)
        #expect(tree.state?.sessions.first?.direction == .incoming)
        #expect((tree.freeze?.start ?? 0) > 0 && (tree.journalRoom?.length ?? 0) > 0)
    }

    @Test("Records of files in the incoming tree are not read, because their ranges may be in use again")
    func bothTrees() throws {
        let found = try inspect(try .inBetween())
        #expect(found.trees.map(\.part) == [.incomingTree, .outgoingTree])
        #expect(found.trees.map { names($0.state) } == [["first", "second", "empty"], ["new"]])
        #expect(found.trees.map { $0.state?.isOver } == [true, false])
        #expect(names(found.state) == ["first", "second", "empty", "new"])
        #expect(found.state?.sessions.map(\.isOpen) == [true, false, false, true])
        #expect(found.state?.sessions[0].files.map(\.status.retrieveStatus) == [.done, .notTried])
    }

    @Test func theLogSaysWhatHappened() throws {
        let words = try inspect(try .inBetween()).log.compactMap(\.words)
        #expect(words.first == "boot after 1 updates; the next number is 9")
        #expect(words.last == "freezing")
        #expect(words.contains { $0.hasPrefix("session 2 \"first\" added: incoming, waiting") })
        #expect(words.contains { $0 == "session 2 is open" })
        #expect(words.contains { $0.hasPrefix("file 3 retrieved, kept in slot ") })
    }

    @Test func everyEventHasItsWords() {
        let words = EventTests.all.map(\.words)
        let start =
            "file 6 added to session 5: token 18446744073709551615, \"memfd-extents-v1\", slot 70, "
            + "device 1, inode 2, data 3, counted on FLB 1, 2, not to be retrieved: errno 5"
        #expect(
            words == [
                "boot after 3 updates; the next number is 17", "freezing", "running",
                "session 5 \"s\" added: incoming, finished", "session 5 is waiting", "session 5 removed",
                "file 6 added to session 5: token 18446744073709551615, \"memfd-extents-v1\", slot 70, "
                    + "device 1, inode 2, data 3, counted on FLB 1, 2, not to be retrieved: errno 5, "
                    + "stored 4096+64 8192+4096",
                "file 6 stored again: data 18446744073709551615, stored 4096+64 8192+4096",
                "file 6 stored again: data 0, nothing stored", "file 6 retrieved, kept in slot -1",
                "file 6 not to be retrieved: errno 4095, kept in slot 1",
                "FLB 7 \"hugetlb-v1\" added: discarded, data 9, counts 2 files, retrieved, stored 4096+64 8192+4096",
                "FLB 7 not retrieved", "FLB 7 removed", "file 6 removed",
                "session 5 of user 4294967295, held in slot 71, detached", "session 5 of user 0, held in slot -1",
                "request 18446744073709551615 on connection 3 answered: -125", "connection 3 closed",
                "booting, and not yet confirmed",
                "\(start), holds nothing, stored 4096+64 8192+4096",
                "\(start), left out of the update: why, stored 4096+64 8192+4096",
                "\(start), left out of the update: \(String(repeating: "w", count: 511)), holds nothing, "
                    + "stored 4096+64 8192+4096",
                "session 5 made by an unknown process, at 1 ns of the wall clock",
                "session 5 made by process 2147483647 (\(String(repeating: "\\xff", count: 15))), "
                    + "at 18446744073709551615 ns of the wall clock",
                "file 6 attested: sums at 4096, stored 4096+64 8192+4096",
                "session 5 opened by an unknown process", "session 5 opened by process 1 ()",
            ])
    }

    // MARK: Damaged arenas

    @Test("With a broken record the inspection shows the state up to it, and the tree") func aBrokenJournal() throws {
        let specimen = try Specimen.published()
        let second = try #require(try inspect(specimen).log.first { $0.words?.contains("\"second\"") == true })
        try specimen.file.write([0xFF], at: second.offset + 30)
        let found = try inspect(specimen)
        #expect(found.failures.map(\.gate) == [.journal])
        #expect(found.log.count == Int(second.sequence))
        #expect(names(found.state) == ["first"])
        #expect(found.state?.sessions.first?.files.count == 2)
        #expect(found.trees.first?.failure == nil)
        #expect(names(found.trees.first?.state) == ["first", "second", "empty"])
    }

    @Test("An impossible record in an intact journal: the state up to it, and the other records")
    func aRecordThatCannotBe() throws {
        let specimen = try Specimen.running()
        let count = try inspect(specimen).log.count
        try specimen.file.write(word: UInt16(77), at: try place(ofRecord: 3, specimen) + 16)
        specimen.repair()
        var found = try inspect(specimen)
        #expect(found.failures.map(\.description) == ["arena: record: record 3: a record of the unknown type 77"])
        #expect(found.log.count == count && found.log[3].words == nil && found.log[3].failure?.gate == .record)
        #expect(names(found.state) == ["first"] && found.state?.sessions.first?.files.isEmpty == true)
        specimen.restore()
        // The record adds a session with an ID that is in use.
        try specimen.file.write(word: UInt64(1), at: try place(ofRecord: 6, specimen) + 24)
        specimen.repair()
        found = try inspect(specimen)
        #expect(found.failures.map(\.reason) == ["record 6: number 1 is given twice"])
        #expect(found.log.allSatisfy { $0.failure == nil })
        #expect(names(found.state) == ["first"] && found.state?.sessions.first?.files.count == 2)
    }

    @Test func aBrokenTree() throws {
        let specimen = try Specimen.published()
        let tree = try #require(try inspect(specimen).trees.first)
        let sessions = try #require(tree.flattened.first { $0.name == "luo-session" })
        try specimen.file.write([0], at: sessions.offset)
        var found = try inspect(specimen)
        #expect(found.failures.map(\.gate) == [.checksum, .tree], "its checksum, and what it says")
        #expect(found.trees.first?.flattened.map { $0.source == nil } == [false, false, true, false, false])
        #expect(names(found.state) == ["first", "second", "empty"], "by the journal")
        specimen.repair()
        found = try inspect(specimen)
        #expect(found.failures.map(\.gate) == [.tree])
    }

    @Test("A tree with contradicting parts is refused, and all of it is shown") func aTreeThatDisagrees() throws {
        let specimen = try Specimen.published()
        let tree = try #require(try inspect(specimen).arena.place(of: .outgoingTree))
        let bytes = [UInt8](try specimen.file.bytes()[Int(tree.offset)..<Int(tree.end)])
        let name = [UInt8]("flb-a-v1".utf8)
        let at = try #require(bytes.indices.first { bytes[$0...].starts(with: name) })
        try specimen.file.write(word: UInt64(3), at: tree.offset + UInt64(at) + 56)
        specimen.repair()
        let found = try inspect(specimen)
        #expect(found.failures.map(\.reason) == ["FLB \"flb-a-v1\" counts 3 files of 4"])
        #expect(names(found.trees.first?.state) == ["first", "second", "empty"])
    }

    /// The place of the slot records, in a specimen with a published tree.
    private func slots(_ specimen: Specimen) throws -> (header: UInt64, tree: Extent) {
        let tree = try #require(try inspect(specimen).trees.first)
        let node = try #require(tree.flattened.first { $0.name == "luo-slot" })
        let bytes = try specimen.file.bytes()[Int(node.offset)..<Int(node.offset) + 512]
        return (try #require(try DeviceTreeReader([UInt8](bytes)).u64("luo-slot-header")), tree.place)
    }

    @Test("Slots that name the same ranges again and again, which would take forever in a large tree, are refused")
    func rangesThatAreCountedAgain() throws {
        let specimen = try Specimen.published()
        let (header, tree) = try slots(specimen)
        for slot in UInt64(0)..<4 {
            try specimen.file.write(word: tree.offset, at: header + 56 + 112 * slot + 24)
            try specimen.file.write(word: tree.length / 24 / 2, at: header + 56 + 112 * slot + 32)
        }
        specimen.repair()
        let found = try inspect(specimen)
        #expect(found.failures.map(\.reason) == ["81 more ranges do not fit into the tree"])
        #expect(names(found.state) == ["first", "second", "empty"])
    }

    @Test func aRoomForTheNextJournalThatIsTaken() throws {
        let specimen = try Specimen.published()
        try specimen.file.write(word: UInt64(1) << 20, at: try slots(specimen).header + 48)
        specimen.repair()
        let found = try inspect(specimen)
        #expect(found.failures.count == 1 && found.failures[0].reason.contains("+1048576 overlaps another or the end"))
        #expect(names(found.trees.first?.state) == ["first", "second", "empty"])
    }

    @Test func whatAHandlerHasStoredIsChecked() throws {
        let specimen = try Specimen.running()
        let file = try #require(try inspect(specimen).state?.sessions[1].files[0])
        try specimen.file.write([9], at: file.status.data + 2)
        let found = try inspect(specimen)
        #expect(found.failures.map(\.gate) == [.checksum])
        #expect(
            found.state?.sessions.map { $0.files.map { $0.stored[0].failure == nil } } == [
                [true, true], [false, true], [],
            ])
        let damaged = try #require(found.state?.sessions[1].files[0])
        #expect(try found.records(of: damaged).read(at: file.status.data, count: 3) == [1, 2, 9], "and shown")
    }

    @Test("Overlapping ranges and ranges outside are each named, and none is read")
    func rangesThatCannotBe() throws {
        let specimen = try Specimen.running()
        let files = try #require(try inspect(specimen).state?.sessions[0].files)
        let record = try #require(try inspect(specimen).log.first { $0.words?.hasPrefix("file 4 added") == true })
        for offset in [files[0].status.data, files[0].status.data + 32, 0, 4096, 1 << 40, .max, .max - 63] {
            // The only range ends the record: u64 offset, u64 length, u32 checksum, and four bytes of padding.
            try specimen.file.write(word: offset, at: record.offset + 128 - 24)
            specimen.repair()
            let found = try inspect(specimen)
            #expect(found.failures.allSatisfy { $0.gate == .record } && found.failures.count >= 2, "\(offset)")
            let file = try #require(found.state?.sessions[0].files[1])
            #expect(file.stored.map(\.place.offset) == [offset] && file.stored[0].failure?.gate == .record)
            #expect(found.records(of: file).size == 0)
        }
    }

    @Test func recordsAreReadFromWhatTheirHandlerHasStoredOnly() throws {
        let found = try inspect(try .running())
        let files = try #require(found.state?.sessions[0].files)
        let records = found.records(of: files[0])
        let place = files[0].stored[0].place
        #expect(records.size == place.length)
        for (offset, count) in [
            (files[1].status.data, UInt64(1)), (place.offset, place.length + 1), (place.offset - 1, 1), (0, 8),
            (.max, .max), (place.offset, .max), (place.end, 1),
        ] {
            #expect(errno { try records.read(at: offset, count: count) } == .ioError, "\(offset)+\(count)")
        }
        #expect(try records.read(at: place.offset, count: place.length).count == Int(place.length))
    }
}

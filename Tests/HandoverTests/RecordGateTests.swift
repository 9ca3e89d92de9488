// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import TestSupport
import Testing

/// A record of the journal is accepted only after its length, its checksum and its sequence number are checked.
@Suite struct RecordGateTests {
    private let arena: PopulatedArena

    init() throws { arena = try PopulatedArena() }

    private func recordsFailure() throws -> ArenaError? {
        let opened = try Arena(opening: try arena.file.duplicate(), Arena.Options(limit: 1 << 20))
        return arenaFailure { try opened.journalRecords() }
    }

    @Test(arguments: [0, 16, 25, 0xFFFF_FFF8, 1 << 20]) func length(value: UInt32) throws {
        let place = try arena.recordPlaces()[1]
        try arena.file.write(word: value, at: place.offset)
        let error = try #require(try recordsFailure())
        #expect(error.gate == .journal && error.reason.contains("length \(value)"), "\(error)")
    }

    @Test func checksum() throws {
        for place in try arena.recordPlaces() {
            for offset in [place.offset + 4, place.offset + 8, place.offset + 16, place.end - 1] {
                let byte = try arena.file.bytes()[Int(offset)]
                try arena.file.write([byte ^ 0x80], at: offset)
                let error = try #require(try recordsFailure())
                #expect(error.gate == .journal && error.reason.contains("wrong checksum"), "\(error)")
                try arena.file.write([byte], at: offset)
            }
        }
        #expect(try recordsFailure() == nil)
    }

    @Test("A record of an older journal in the same place is intact, but out of sequence")
    func sequence() throws {
        let place = try arena.recordPlaces()[2]
        let number = integer(UInt64.self, try arena.file.bytes(), at: Int(place.offset) + 8)
        try arena.file.write(word: number + 1, at: place.offset + 8)
        try arena.repairRecord(at: place.offset)
        let error = try #require(try recordsFailure())
        #expect(error.gate == .journal && error.reason.contains("sequence number \(number + 1)"), "\(error)")
    }

    @Test func payloadLongerThanItsRecord() throws {
        let place = try arena.recordPlaces()[0]
        try arena.file.write(word: UInt32(17), at: place.offset + 20)
        try arena.repairRecord(at: place.offset)
        let error = try #require(try recordsFailure())
        #expect(error.gate == .journal && error.reason.contains("payload of 17 bytes"), "\(error)")
    }

    @Test func aTailInTheMiddleOfARecord() throws {
        let place = try arena.recordPlaces()[1]
        try arena.file.write(word: place.offset + 16 - arena.journal.offset, at: arena.journal.offset + 32)
        #expect(try recordsFailure()?.gate == .journal)
    }

    @Test func aTailBeforeTheLastRecordLeavesItOut() throws {
        let place = try arena.recordPlaces()[2]
        try arena.file.write(word: place.offset - arena.journal.offset, at: arena.journal.offset + 32)
        let opened = try Arena(opening: try arena.file.duplicate(), Arena.Options(limit: 1 << 20))
        #expect(try opened.journalRecords() == [UInt8(0), 1].map { PopulatedArena.records[Int($0)] })
    }
}

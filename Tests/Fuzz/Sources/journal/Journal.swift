// SPDX-License-Identifier: Apache-2.0
import FuzzSupport

@testable import LiveUpdateCore
@testable import LiveUpdateHandover
@testable import LiveUpdatePlatform

// Reads the records of a journal, and applies them to a state. Each record is accepted or refused. A snapshot of the
// state makes the same state again. The first byte of an input tells whether checksums are repaired.

@_cdecl("LLVMFuzzerInitialize")
public func initialize(_: UnsafeMutableRawPointer?, _: UnsafeMutableRawPointer?) -> CInt {
    writeSeedsIfAsked { try seeds() }
    return 0
}

@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var bytes = unsafe input(start, count)
    guard let flags = bytes.first else { return -1 }
    bytes.removeFirst()
    if flags & 1 == 1 { repairRecords(&bytes) }
    guard let records = try? decode(bytes, firstSequence: 0) else { return 0 }
    var state = BootState()
    for record in records {
        // A reader stops at the first impossible record. This test goes on with the records behind it.
        var next = state
        do throws(ArenaError) { try next.apply(Event(record)) } catch { continue }
        state = next
    }
    checkSnapshot(of: state)
    return 0
}

private func decode(_ bytes: [UInt8], firstSequence: UInt64) throws(ArenaError) -> [JournalRecord] {
    var reader = JournalReader(bytes[...], firstSequence: firstSequence)
    var records: [JournalRecord] = []
    while let record = try reader.next() { records.append(record) }
    return records
}

private func checkSnapshot(of state: BootState) {
    let snapshot = state.snapshot
    let bytes = JournalFormat.encode(snapshot.map(\.record), firstSequence: .max)
    var again = BootState()
    do throws(ArenaError) {
        for record in try decode(bytes, firstSequence: .max) { try again.apply(Event(record)) }
    } catch {
        fault("a snapshot that is refused: \(error)")
    }
    check(again.snapshot == snapshot, "another snapshot")
    check(again.sessions == state.sessions, "other sessions")
    check(again.files == state.files, "other files")
    check(again.flbs == state.flbs, "other FLBs")
    check(again.answers == state.answers, "other answers")
    check(again.usage == state.usage, "another usage")
    check(again.nextID == state.nextID, "another next number")
    for session in state.sessions.values {
        let user = session.holder.user
        let found = [again, state].map { $0.session(session.name, session.direction, of: user) }
        check(found[0] == found[1] && found[0] != nil, "names")
    }
    for file in state.files.values {
        let hold = state.sessions[file.session].map { FileHold($0.holder.user, file.identity) }
        let holds = [again, state].map { state in hold.map(state.holds) }
        check(holds[0] == holds[1] && (holds[0] == true || !file.holdsFile), "identities")
        check(again.file(file.token, in: file.session) == state.file(file.token, in: file.session), "tokens")
        let counts = [again, state].map { $0.fileCount(ofHandler: file.compatible) }
        check(counts[0] == counts[1] && counts[0] > 0, "files of a handler")
    }
    for flb in state.flbs.values {
        check(again.incomingFLB(flb.compatible) == state.incomingFLB(flb.compatible), "FLBs by name")
    }
}

/// The journal of each state.
private func seeds() throws -> [Seed] {
    let world = try World()
    var seeds: [Seed] = []
    try world.inEachState { name in
        let arena = try world.openArena()
        guard let journal = arena.journal else { return }
        let length = try arena.journalRecords().reduce(0) { $0 + JournalFormat.encodedLength($1) }
        let records = try arena.read(at: journal.offset + JournalFormat.headerLength, count: UInt64(length))
        seeds.append((name, [1] + records))
    }
    return seeds
}

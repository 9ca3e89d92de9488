// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateHandover

/// Snapshots of an arena that a writer changes all the time. Each shows the arena at one moment.
@Suite struct MovingArenaTests {
    private struct Seen {
        var settled = 0
        var others = 0
        var refused = 0
        var generations: Set<UInt64> = []
    }

    @Test("Snapshots are whole while records are committed, the journal is rewritten, and trees come and go")
    func aWriterThatNeverRests() throws {
        let file = try MemoryFile("arena", size: 0)
        let arena = try Arena.format(try file.duplicate(), Arena.Options(limit: 1 << 20))
        try arena.takeOver([record(0)], inUse: [])
        let commits = Guarded(0)
        let isDone = Guarded(false)
        let writer = Threads.start {
            while !isDone.with({ $0 }) {
                let number = commits.with { $0 }
                #expect(throws: Never.self) { try Self.write(arena, number) }
                commits.with { $0 += 1 }
            }
        }
        defer {
            isDone.with { $0 = true }
            writer.join()
        }
        var seen = Seen()
        while seen.settled < Scale.count(3000) || commits.with({ $0 }) < 1000 { try look(at: file, &seen) }
        print(
            "a writer that never rests: \(commits.with { $0 }) commits, \(seen.settled) settled snapshots,",
            "\(seen.others) others, \(seen.refused) refused")
        #expect(seen.generations.count > 1)
    }

    /// The tree is so long that it may change while it is copied.
    private static let treeLength: UInt64 = 32 << 10

    private static func write(_ arena: Arena, _ number: Int) throws {
        try arena.commit([record(number, bytes: 200)], acquiring: true) { [record(number - 1)] }
        if arena.outgoingTree != nil { arena.withdraw() }
        let tree = try arena.allocate(treeLength)
        arena.write([UInt8](repeating: UInt8(truncatingIfNeeded: number), count: Int(treeLength)), at: tree.offset)
        arena.publish(tree)
        // A pause from time to time lets a copy succeed.
        if number % 64 == 0 { usleep(50) }
    }

    private func look(at file: MemoryFile, _ seen: inout Seen) throws {
        let looking = try file.descriptor.reopenedForReading()
        guard let snapshot = try? ArenaSnapshot(of: looking.borrowed) else {
            seen.refused += 1
            return
        }
        let found = ArenaInspection(snapshot)
        #expect(found.failures.map(\.description) == [])
        if snapshot.isSettled { seen.settled += 1 } else { seen.others += 1 }
        seen.generations.insert(found.words?.generation ?? 0)
    }
}

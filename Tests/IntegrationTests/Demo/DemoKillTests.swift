// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdatePlatform
import TestSupport
import Testing

/// A demo is killed. The next run reports its remains, and removes them.
@Suite struct DemoKillTests {
    /// Checks that only files on hugetlbfs are whole, which have the odd tokens, and that each file is reported.
    private func expectTruth(_ found: DemoOutput.Recovered, hugetlbfs: Bool) {
        #expect(found.faults == [])
        #expect((found.whole + found.gone).count == found.files)
        #expect(Set(found.whole + found.gone).count == found.files)
        #expect(found.whole.allSatisfy { hugetlbfs && $0 % 2 == 1 }, "\(found.whole)")
        #expect(found.gone.allSatisfy { !hugetlbfs || $0 % 2 == 0 }, "\(found.gone)")
    }

    @Test(
        "Killed after each number of stores", .requiresRoot, .requiresHugePages(2),
        arguments: [[], ["--hugetlbfs", "--updates", "2"]])
    func everyStore(options: [String]) async throws {
        let room = try await DemoRoom()
        var seen: Set<[Int]> = []
        var after = 0
        while true {
            let killed = try await room.demo(options + ["--no-reserve", "--kill-after", "\(after)"])
            if killed.status != nil {
                #expect(killed.status == 0, "after \(after) stores: \(killed)")
                break
            }
            let next = try await room.report(["--no-reserve"])
            #expect(next.recovered.count <= 1)
            for found in next.recovered {
                expectTruth(found, hugetlbfs: options.contains("--hugetlbfs"))
                seen.insert([found.updates, found.files])
            }
            try await room.expectNothingLeft()
            after += Scale.stride
        }
        let updates = options.contains("--updates") ? 2 : 1
        if Scale.stride == 1 {
            #expect(seen.isSuperset(of: (0..<updates).flatMap { [[$0, 0], [$0, 1], [$0, 2]] }), "\(seen)")
        }
        #expect(seen.contains([updates, 2]), "\(seen)")
    }

    @Test("Killed at any moment, with reserved pages", .requiresRoot, .requiresPoolRights())
    func anyMoment() async throws {
        let taken = try EmptyPool()
        let room = try await DemoRoom()
        var generator = SeededGenerator(seed: announcedSeed("killed demo"))
        for _ in 0..<Scale.count(10) {
            let program = try room.start(["--size", "32M", "--updates", "30", "--hugetlbfs"])
            try await Task.sleep(for: .milliseconds(Int.random(in: 0...300, using: &generator)))
            program.kill()
            for found in try await room.report().recovered { expectTruth(found, hugetlbfs: true) }
            try await room.expectNothingLeft()
        }
        withExtendedLifetime(taken) {}
    }

    @Test("The next run is killed, too, and the one after it finds both", .requiresRoot, .requiresHugePages(4))
    func finderKilled() async throws {
        let room = try await DemoRoom()
        let stores = try await room.stores(["--hugetlbfs", "--no-reserve"])
        for after in stride(from: 0, to: stores, by: max(stores / 8, 1)) {
            try await room.leaveKilledDemo()
            let finder = try await room.demo(["--hugetlbfs", "--no-reserve", "--kill-after", "\(after)"])
            #expect(finder.status == nil)
            for found in try await room.report(["--no-reserve"]).recovered { expectTruth(found, hugetlbfs: true) }
            try await room.expectNothingLeft()
        }
    }

    @Test("Several killed demos", .requiresRoot, .requiresHugePages(4)) func several() async throws {
        let room = try await DemoRoom()
        let options = ["--hugetlbfs", "--no-reserve"]
        let stores = try await room.stores(options)
        // All demos run at once, because a later one would find an earlier one.
        let running = try (0..<3).map { _ in
            try room.start(options + ["--kill-after", "\(stores / 2)", "--files", "1"])
        }
        for program in running { #expect(try await program.ended().status == nil) }
        let found = try await room.report(["--no-reserve"]).recovered
        #expect(found.count >= 1)
        for found in found { expectTruth(found, hugetlbfs: true) }
        try await room.expectNothingLeft()
    }

    @Test("On a foreign hugetlbfs only the demo's own files are removed", .requiresRoot, .requiresHugePages(2))
    func mountOfOthers() async throws {
        let room = try await DemoRoom()
        _ = try await room.shell("mount -t hugetlbfs -o pagesize=2M none /mnt && touch /mnt/luoctl-demo-other")
        try await room.leaveKilledDemo()
        let found = try await room.report(["--no-reserve"]).recovered
        #expect(found.map(\.whole) == [[1]])
        let left = try await room.shell("ls /mnt && rm /mnt/*")
        #expect(left.lines == ["luoctl-demo-other"])
        try await room.expectNothingLeft(mounts: ["/mnt"])
    }

    @Test("A running demo is not taken for a killed one", .requiresRoot, .requiresHugePages(4))
    func running() async throws {
        let room = try await DemoRoom()
        let running = try room.start(["--hugetlbfs", "--no-reserve", "--updates", "1000"])
        try await eventually("its arena", within: 20) { try !room.files(".arena").isEmpty }
        for _ in 0..<Scale.count(20) {
            #expect(try await room.report(["--no-reserve"]).recovered.isEmpty)
            #expect(!running.hasEnded)
        }
        kill(running.process, SIGTERM)
        #expect(try await running.ended().status == 128 + SIGTERM)
        try await room.expectNothingLeft()
    }
}

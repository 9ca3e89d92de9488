// SPDX-License-Identifier: Apache-2.0
import Glibc
import TestSupport
import Testing

/// A demo that Ctrl-C or a similar signal ends leaves nothing, at any moment.
@Suite(.requiresRoot, .requiresPoolRights()) struct DemoSignalTests {
    @Test(arguments: [SIGINT, SIGTERM, SIGHUP], [[], ["--hugetlbfs"]])
    func atAnyMoment(_ signal: CInt, _ options: [String]) async throws {
        let taken = try EmptyPool()
        let room = try await DemoRoom()
        var generator = SeededGenerator(seed: announcedSeed("signals"))
        for _ in 0..<Scale.count(10) {
            let program = try room.start(["--size", "32M", "--updates", "1000"] + options)
            try await eventually("its arena", within: 20) { try !room.files(".arena").isEmpty }
            try await Task.sleep(for: .milliseconds(Int.random(in: 0...300, using: &generator)))
            kill(program.process, signal)
            let ended = try await program.ended()
            #expect(ended.status == 128 + signal, "\(ended)")
            try await room.expectNothingLeft()
        }
        withExtendedLifetime(taken) {}
    }

    @Test("A signal that nohup(1) ignores stays ignored") func ignored() async throws {
        let room = try await DemoRoom()
        let demo = "exec \"$0\" demo --files 1 --size 2M --no-reserve --updates 20"
        let program = try Program(
            room.entrance + ["/bin/sh", "-c", "trap '' HUP; \(demo)", Program.path("luoctl")])
        for _ in 0..<10 {
            try await Task.sleep(for: .milliseconds(20))
            if !program.hasEnded { kill(program.process, SIGHUP) }
        }
        let ended = try await program.ended()
        #expect(ended.status == 0, "\(ended)")
        try await room.expectNothingLeft()
    }
}

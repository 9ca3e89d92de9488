// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform
import TestSupport
import Testing

/// The process that reserves huge pages is killed, alone or with the demo. The pages are given back nevertheless.
@Suite(.requiresRoot, .requiresPoolRights()) struct DemoGuardTests {
    /// Starts a demo that reserves 16 pages, and waits until it has them.
    private func start(_ room: DemoRoom, _ arguments: [String] = []) async throws -> (Program, guards: [pid_t]) {
        let program = try room.start(["--size", "32M", "--updates", "1000"] + arguments)
        try await eventually("the reserved pages", within: 60) { try !room.files(".frames").isEmpty }
        return (program, try room.guards)
    }

    @Test("Killed with the demo: the next run gives the pages back", arguments: [[], ["--hugetlbfs"]])
    func withTheDemo(options: [String]) async throws {
        let taken = try EmptyPool()
        let room = try await DemoRoom()
        let before = try HugePagePool(.huge2M).persistent
        let (program, guards) = try await start(room, options)
        #expect(guards.count == 1)
        kill(program.process, SIGSTOP)
        for process in guards { kill(process, SIGKILL) }
        program.kill()
        let reserved = try HugePagePool(.huge2M).persistent - before
        #expect(reserved >= 16)
        let found = try await room.report(["--no-reserve"]).recovered
        #expect(found.map(\.givenBack) == [Int(reserved)])
        #expect(found.flatMap(\.faults) == [])
        try await room.expectNothingLeft()
        withExtendedLifetime(taken) {}
    }

    @Test("Killed with the demo, and the arena is removed by hand") func withoutArena() async throws {
        let taken = try EmptyPool()
        let room = try await DemoRoom()
        let (program, guards) = try await start(room)
        kill(program.process, SIGSTOP)
        for process in guards { kill(process, SIGKILL) }
        program.kill()
        _ = try await room.shell("rm /dev/shm/luoctl-demo-0/*.arena")
        let found = try await room.report(["--no-reserve"]).recovered
        #expect(found.map(\.atItsEnd) == [true])
        #expect(found.allSatisfy { $0.givenBack >= 16 && $0.faults.isEmpty })
        try await room.expectNothingLeft()
        withExtendedLifetime(taken) {}
    }

    @Test("Killed with a demo that had sabotaged the pool") func withSabotage() async throws {
        let taken = try EmptyPool()
        let room = try await DemoRoom()
        let before = try HugePagePool(.huge2M).overcommit
        let program = try room.start(["--size", "32M", "--updates", "1000", "--sabotage", "pool"])
        try await eventually("both guards", within: 60) { try HugePagePool(.huge2M).overcommit > before }
        kill(program.process, SIGSTOP)
        for process in try room.guards { kill(process, SIGKILL) }
        program.kill()
        #expect(try await room.report(["--no-reserve"]).recovered.flatMap(\.faults) == [])
        try await room.expectNothingLeft()
        withExtendedLifetime(taken) {}
    }

    @Test("Killed alone: the demo itself gives the pages back") func alone() async throws {
        let taken = try EmptyPool()
        let room = try await DemoRoom()
        let program = try room.start(["--size", "32M", "--updates", "20"])
        try await eventually("the reserved pages", within: 60) { try !room.files(".frames").isEmpty }
        for process in try room.guards { kill(process, SIGKILL) }
        let ended = try await program.ended()
        #expect(ended.status == 0, "\(ended)")
        try await room.expectNothingLeft()
        withExtendedLifetime(taken) {}
    }

    @Test("A note that cannot be read is reported, and stays") func damagedNote() async throws {
        let room = try await DemoRoom()
        _ = try await room.shell(
            "mkdir -m 700 /dev/shm/luoctl-demo-0 && echo nonsense >/dev/shm/luoctl-demo-0/1-1.reserved")
        let faults = try await room.report(["--no-reserve"], status: 1).faults
        #expect(faults.count == 1)
        #expect(faults.first?.contains("/dev/shm/luoctl-demo-0/1-1.reserved") == true, "\(faults)")
        #expect(try room.files(".reserved").count == 1)
        _ = try await room.shell("rm -r /dev/shm/luoctl-demo-0")
        _ = try await room.report(["--no-reserve"])
        try await room.expectNothingLeft()
    }
}

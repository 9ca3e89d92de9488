// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import TestSupport
import Testing

/// The demo's files: named files, pages of 1 GiB, and both together.
@Suite struct DemoOptionTests {
    @Test(
        "Files with a name, on a hugetlbfs that is mounted for them", .requiresRoot, .requiresHugePages(4),
        arguments: [["--updates", "1"], ["--updates", "3", "--seed", "7"], ["--files", "4", "--size", "4M"]])
    func ownHugetlbfs(options: [String]) async throws {
        let room = try await DemoRoom()
        let report = try await room.report(["--hugetlbfs", "--no-reserve"] + options)
        for file in report.files {
            #expect((file.path != nil) == (file.order == 9))
            #expect(file.path?.hasPrefix("/dev/shm/luoctl-demo-0/") != false)
        }
        #expect(report.recovered.isEmpty)
        try await room.expectNothingLeft()
    }

    @Test("A mounted hugetlbfs is used", .requiresRoot, .requiresHugePages(2))
    func mountedHugetlbfs() async throws {
        let room = try await DemoRoom()
        _ = try await room.shell("mount -t hugetlbfs -o pagesize=2M none /mnt")
        let report = try await room.report(["--hugetlbfs", "--no-reserve", "--updates", "2"])
        #expect(report.files.compactMap(\.path).allSatisfy { $0.hasPrefix("/mnt/luoctl-demo-") })
        try await room.expectNothingLeft(mounts: ["/mnt"])
    }

    @Test("Two demos on hugetlbfs do not use each other's mount", .requiresRoot, .requiresHugePages(2))
    func mountsOfTwo() async throws {
        let room = try await DemoRoom()
        let first = try room.start(["--hugetlbfs", "--no-reserve", "--updates", "1000"])
        try await eventually("the mount of the first", within: 20) { try room.mounts.count == 1 }
        let second = try room.start(["--hugetlbfs", "--no-reserve", "--updates", "30"])
        try await eventually("the mount of the second", within: 20) { try room.mounts.count == 2 }
        kill(first.process, SIGTERM)
        let stopped = try await first.ended()
        #expect(stopped.status == 128 + SIGTERM, "\(stopped)")
        let ended = try await second.ended()
        #expect(ended.status == 0, "\(ended)")
        #expect(try ended.json(DemoOutput.self).recovered.isEmpty)
        try await room.expectNothingLeft()
    }

    @Test(
        "Pages of 1 GiB, or why there are none", .requiresRoot, .requiresPoolRights(), arguments: [[], ["--hugetlbfs"]])
    func gigantic(options: [String]) async throws {
        let room = try await DemoRoom()
        let ended = try await room.demo(["--page-size", "1G", "--size", "1G", "--files", "1"] + options)
        if ended.status == 69 {
            #expect(ended.errors.contains("luoctl: 1 files on huge pages of 1G: "), "\(ended)")
        } else {
            #expect(ended.status == 0, "\(ended)")
            #expect(try ended.json(DemoOutput.self).files.map(\.order) == [18])
        }
        try await room.expectNothingLeft()
    }

    @Test("Without pages, options that need them are not available", .requiresRoot, .requiresPoolRights())
    func withoutPages() async throws {
        let taken = try EmptyPool()
        let room = try await DemoRoom()
        for option in [["--hugetlbfs"], ["--sabotage", "pool"]] {
            let ended = try await room.demo(["--no-reserve"] + option)
            #expect(ended.status == 69, "\(ended)")
            #expect(
                ended.errors.contains(
                    "1 files on huge pages of 2M: 1 free pages are needed, and --no-reserve was given"))
            #expect(ended.output.isEmpty)
            try await room.expectNothingLeft()
        }
        withExtendedLifetime(taken) {}
    }

    @Test(arguments: [
        (["--page-size", "4M"], "\"4M\" is no size of huge pages: 2M or 1G"), (["--page-size", ""], "is no size"),
        (["--page-size", "1G", "--size", "2M"], "--size takes a multiple of 1G"),
        (["--page-size", "1G", "--sabotage", "pool"], "--sabotage pool needs --page-size 2M"),
        (["--sabotage", "everything"], "--sabotage"), (["--sabotage"], "--sabotage"),
        (["--kill-after", "-1"], "--kill-after"), (["--kill-after", "soon"], "--kill-after"),
        (["--hugetlbfs", "/mnt"], "/mnt"),
    ])
    func wrongArguments(_ arguments: [String], _ message: String) async throws {
        let ended = try await run([Program.path("luoctl"), "demo"] + arguments)
        #expect(ended.status == 64)
        #expect(ended.errors.contains(message), "\(ended)")
        #expect(ended.output.isEmpty)
    }
}

/// The same options without root's rights.
@Suite struct UnprivilegedDemoOptionTests {
    @Test(
        "Options that need root are not available, and say so", .requiresRoot, .requiresPoolRights(),
        arguments: [
            (["--hugetlbfs"], "only root can reserve huge pages"),
            (["--page-size", "1G"], "only root can reserve huge pages"),
            (["--sabotage", "pool"], "only root can reserve huge pages"),
        ])
    func rights(_ options: [String], _ message: String) async throws {
        let taken = try EmptyPool()
        let room = try await DemoRoom()
        let ended = try await luoctlAsNobody(["demo", "--files", "2", "--size", "1G"] + options, in: room)
        #expect(ended.status == 69, "\(ended)")
        #expect(ended.errors.contains(message), "\(ended)")
        try await room.expectNothingLeft()
        withExtendedLifetime(taken) {}
    }

    @Test("A pool that may not be changed is not sabotaged", .requiresRoot, .requiresHugePages(2))
    func poolOfOthers() async throws {
        let room = try await DemoRoom()
        let ended = try await luoctlAsNobody(
            ["demo", "--files", "2", "--size", "2M", "--sabotage", "pool"], in: room)
        #expect(ended.status == 69, "\(ended)")
        #expect(ended.errors.contains("the pool cannot be changed: only root can reserve huge pages"), "\(ended)")
        try await room.expectNothingLeft()
    }

    @Test("Without a hugetlbfs the demo says how to mount one; with one it works", .requiresRoot, .requiresHugePages(2))
    func hugetlbfs() async throws {
        let room = try await DemoRoom()
        let options = ["demo", "--files", "2", "--size", "2M", "--hugetlbfs"]
        let without = try await luoctlAsNobody(options, in: room)
        #expect(without.status == 69, "\(without)")
        #expect(without.errors.contains("as root: mount -t hugetlbfs -o pagesize=2M none DIRECTORY"), "\(without)")
        try await room.expectNothingLeft()

        _ = try await room.shell("mount -t hugetlbfs -o pagesize=2M,mode=1777 none /mnt")
        let with = try await luoctlAsNobody(options + ["--updates", "2"], in: room)
        #expect(with.status == 0, "\(with)")
        try await room.expectNothingLeft(mounts: ["/mnt"])
    }

    @Test("Only the next demo of the same user finds a killed one", .requiresRoot, .requiresHugePages(2))
    func killed() async throws {
        let room = try await DemoRoom()
        _ = try await room.shell("mount -t hugetlbfs -o pagesize=2M,mode=1777 none /mnt")
        let options = ["demo", "--files", "2", "--size", "2M", "--hugetlbfs", "--json"]
        let stores = try await room.stores(["--hugetlbfs", "--no-reserve"])
        let killed = try await luoctlAsNobody(options + ["--kill-after", "\(stores / 2)"], in: room)
        #expect(killed.status == nil, "\(killed)")
        #expect(try await room.report(["--no-reserve"]).recovered.isEmpty)
        let next = try await luoctlAsNobody(options, in: room)
        #expect(next.status == 0, "\(next)")
        #expect(try next.json(DemoOutput.self).recovered.map(\.whole) == [[1]])
        try await room.expectNothingLeft(mounts: ["/mnt"])
    }
}

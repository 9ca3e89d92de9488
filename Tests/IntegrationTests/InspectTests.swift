// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// `luoctl inspect` on the arenas of real processes.
@Suite struct InspectTests {
    // MARK: A running process

    @Test(.requiresHugePages(4)) func whileItRuns() async throws {
        let holder = try await ArenaHolder("2")
        let ended = try await holder.inspect("--json", "--pages", "--log")
        #expect(ended.status == 0 && ended.errors.isEmpty)
        let document = try ended.json(InspectOutput.self)
        #expect(document.version == 1 && document.sound && document.failures.isEmpty)
        #expect(document.file.locked == true && document.file.settled)
        #expect(document.state?.phase == "running" && document.state?.updates == 0)
        #expect(document.state?.flbs.map(\.compatible) == ["hugetlb-v1"])
        #expect(document.trees.isEmpty)
        #expect(document.journal?.log?.map(\.sequence) == (0..<(document.journal?.records ?? 0)).map { UInt64($0) })
        let session = try #require(document.state?.sessions.first)
        #expect(session.name == "held" && session.direction == "outgoing" && session.progress == "open")
        #expect(session.files.map(\.compatible) == ["memfd-extents-v1", "huge-memfd-v1"])
        #expect(session.files.map(\.pages?.present) == [4096, 4 << 20])
        #expect(session.files[1].flbs == ["hugetlb-v1"] && session.files[1].pages?.pageSize == 2 << 20)
        #expect(session.files.allSatisfy { $0.pages?.runs?.isEmpty == false && $0.failure == nil })
    }

    @Test("An inspection changes nothing, and the process does not notice it") func nothingIsChanged() async throws {
        let holder = try await ArenaHolder("0")
        let before = try holder.arena.borrowed.bytes(at: 0, count: 1 << 20)
        #expect(try await holder.inspect().status == 0)
        #expect(try await holder.inspect("--json", "--pages", "--log").status == 0)
        #expect(try holder.arena.borrowed.bytes(at: 0, count: 1 << 20) == before)
        #expect(!holder.process.hasEnded)
    }

    @Test("A process that commits all the time is shown as sound, each time") func whileItIsBusy() async throws {
        let holder = try await ArenaHolder("0", "1", "--busy")
        var tails: Set<UInt64> = []
        for _ in 0..<Scale.count(20) {
            let ended = try await holder.inspect("--json")
            // Exit code 69 says that the arena changed during each attempt.
            guard ended.status != 69 else { continue }
            #expect(ended.status == 0, "\(ended)")
            let document = try ended.json(InspectOutput.self)
            #expect(document.state?.sessions.first?.name == "held")
            tails.insert(document.journal?.tail ?? 0)
        }
        #expect(tails.count > 1 || Scale.count(20) < 4)
    }

    @Test func afterItWasKilled() async throws {
        let holder = try await ArenaHolder("0")
        holder.process.kill()
        let ended = try await run(
            [Program.path("luoctl"), "inspect", "/proc/self/fd/3", "--json"], inheriting: holder.arena.borrowed)
        #expect(ended.status == 0, "\(ended)")
        let document = try ended.json(InspectOutput.self)
        #expect(document.sound && document.file.locked == false)
        #expect(document.state?.sessions.first?.files.count == 1)
    }

    // MARK: Invariants

    @Test("An extent beyond the end of its file is named, with its session and token") func extents() async throws {
        let holder = try await ArenaHolder("0")
        let document = try await holder.inspect("--json").json(InspectOutput.self)
        #expect(document.invariants.broken.isEmpty && document.invariants.checked.count == 15)
        #expect(try await holder.inspect().output.contains("\n\ninvariants: 15 checked, all hold\n\n"))
        var bytes = try holder.arena.borrowed.bytes(at: 0, count: 1 << 20)
        let data = Int(try #require(document.state?.sessions.first?.files.first?.data))
        // The record ends with the offset of its extents. The length of the first one follows its offset.
        let place = Int(integer(UInt64.self, bytes, at: data + 32))
        bytes[place + 8 + 6] = 1
        let file = try TemporaryFile(bytes)
        let ended = try await luoctl("inspect", "--json", file.path)
        let damaged = try ended.json(InspectOutput.self).invariants.broken
        #expect(ended.status == 1 && Set(damaged.map(\.invariant)) == ["sums", "file-records"], "\(damaged)")
        #expect(damaged.contains { $0.reason.contains("token 1 of \"held\"") && !$0.consequence.isEmpty })
        let text = try await luoctl("inspect", file.path).output
        #expect(text.contains("invariants: 15 checked, 2 broken\n  sums: the journal: range"), "\(text)")
    }

    @Test("A broken invariant that no gate finds is an exit code of 1") func onlyAnInvariant() async throws {
        let specimen = try Specimen.running()
        let inspected = Inspection(ArenaSnapshot(specimen.copy()))
        let record = try #require(inspected.log.last { $0.words?.contains("token 2, ") == true })
        let slot = try #require(inspected.state?.sessions.first?.files.first?.status.slot.number)
        try specimen.file.write(word: slot, at: record.offset + 48)
        specimen.repair()
        let file = try TemporaryFile(specimen.copy())
        let ended = try await luoctl("inspect", file.path)
        #expect(ended.status == 1 && ended.lines.first == "\(file.path): sound; no program runs it")
        #expect(ended.errors.hasPrefix("luoctl: \(file.path): slots: record "), "\(ended)")
    }

    // MARK: Exit codes

    @Test func whatIsNoArena() async throws {
        let file = try TemporaryFile(Array("Kein Arena, aber lang genug.".utf8) + [UInt8](repeating: 7, count: 9000))
        let ended = try await luoctl("inspect", file.path)
        #expect(ended.status == 1)
        #expect(ended.errors == "luoctl: \(file.path): magic: this is no arena\n")
        #expect(ended.lines.first == "\(file.path): DAMAGED, or no arena; no program runs it")
        let empty = try TemporaryFile([])
        #expect(try await luoctl("inspect", empty.path).errors.contains("size: the file has 0 bytes"))
    }

    @Test(arguments: ["/nonexistent/arena", "/", "/dev/null", "/proc/self/fd/99"])
    func whatIsNoFile(_ path: String) async throws {
        let ended = try await luoctl("inspect", path)
        #expect(ended.status == 64 && ended.output.isEmpty)
        #expect(ended.errors.hasPrefix("luoctl: \(path): "))
    }

    @Test func aFIFOIsNotWaitedFor() async throws {
        let neighbour = try TemporaryFile([])
        let path = neighbour.path + ".fifo"
        try #require(unsafe mkfifo(path, 0o600) == 0)
        defer { _ = unsafe unlink(path) }
        #expect(try await luoctl("inspect", path).status == 64)
    }

    @Test func anArenaLargerThanTheLimit() async throws {
        let file = try TemporaryFile(try Specimen.running().copy())
        let ended = try await luoctl("inspect", "--limit", "8K", file.path)
        #expect(ended.status == 69 && ended.errors.contains("raise --limit"))
        let larger = try await luoctl("inspect", "--limit", "1M", file.path)
        #expect(larger.status == 0, "\(larger)")
    }

    @Test(.requiresRoot) func withoutPermission() async throws {
        let file = try TemporaryFile(try Specimen.running().copy())
        unsafe chmod(file.path, 0o600)
        let ended = try await luoctlAsNobody(["inspect", file.path])
        #expect(ended.status == 77 && ended.errors.contains("run as root"))
        #expect(try await luoctlAsNobody(["inspect", "/proc/\(getpid())/fd/0"]).status == 77)
        unsafe chmod(file.path, 0o604)
        #expect(try await luoctlAsNobody(["inspect", file.path]).status == 0)
    }

    @Test("A file that was left out of an update is named with the reason") func leftOut() async throws {
        let file = try TemporaryFile(try Specimen.leftOut().copy())
        let ended = try await luoctl("inspect", file.path)
        #expect(ended.status == 0, "\(ended)")
        #expect(ended.output.contains("token 99 of more was left out of the update: another size"))
        let document = try await luoctl("inspect", "--json", file.path)
        #expect(
            document.output.contains("\"problem\" : \"another size\"")
                || document.output.contains("\"problem\":\"another size\""))
    }

    // MARK: Trees

    @Test("dtc(1) reads each tree", .enabled(if: DeviceTreeCompiler.isWanted, "dtc is not installed"))
    func trees() async throws {
        let file = try TemporaryFile(try Specimen.inBetween().copy())
        let document = try await luoctl("inspect", "--json", file.path).json(InspectOutput.self)
        #expect(document.trees.map(\.part) == ["incoming tree", "outgoing tree"])
        #expect(document.state?.phase == "published")
        for tree in document.trees.flatMap(\.flattened) {
            let source = try DeviceTreeCompiler.source(of: try DeviceTreeCompiler.compiled(try #require(tree.dts)))
            #expect(source.first == "/dts-v1/;" && source.contains { $0.hasPrefix("compatible = ") }, "\(tree.name)")
        }
        let text = try await luoctl("inspect", file.path).output
        #expect(text.contains("luo-session-header = <0x"))
    }
}

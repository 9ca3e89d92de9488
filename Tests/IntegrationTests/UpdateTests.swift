// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// Real updates: a process becomes its next image by execve, and keeps its files. See Tests/UpdateProbe.
@Suite struct UpdateTests {
    /// Checks that only these are open: three standard descriptors, the arena, and the held files.
    private func expectClean(_ line: [String: String], _ prefix: String, files: Int) {
        #expect(line["\(prefix)_standard"] == "3")
        #expect(line["\(prefix)_arena"] == "1")
        #expect(line["\(prefix)_files"] == "\(files)")
        #expect(line["\(prefix)_others"] == "")
        #expect(line["\(prefix)_inheritable"] == "0", "all of ours are close-on-exec again")
    }

    @Test(arguments: [1, 10, 253, 1000]) func filesAreKept(_ count: Int) async throws {
        let ended = try await probe("keep", "\(count)")
        #expect(ended.status == 0, "\(ended)")
        let line = try #require(try ended.objects().last)
        #expect(line["intact"] == "\(count)")
        expectClean(line, "begin", files: count)
        // Only the retrieved descriptors are left, and the held copies are closed.
        expectClean(line, "end", files: count)
    }

    @Test func manyUpdatesGrowNothing() async throws {
        let ended = try await probe("keep", "40", "10")
        #expect(ended.status == 0, "\(ended)")
        let lines = try ended.objects().filter { $0["update"] != nil }
        #expect(lines.map { $0["update"] } == (1...10).map { "\($0)" })
        // The first update finds a new arena. From the second update on it has its final size.
        for line in lines.dropFirst() {
            #expect(line["intact"] == "40")
            expectClean(line, "begin", files: 40)
            expectClean(line, "end", files: 40)
            #expect(line["arena_size"] == lines[1]["arena_size"])
            #expect(line["arena_used"] == lines[1]["arena_used"])
        }
    }

    @Test("At the limit on open files the error is EMFILE, and nothing is lost", arguments: [32, 64, 65, 128, 300])
    func limit(_ limit: Int) async throws {
        let ended = try await probe("limit", "\(limit)")
        #expect(ended.status == 0, "\(ended)")
        let lines = try ended.objects().filter { $0["flb"] == nil }
        let full = try #require(lines.first)
        #expect(full["errno"] == "\(Errno.tooManyOpenFiles.rawValue)", "\(full)")
        #expect(full["remedy"]?.contains("ulimit -n") == true)
        #expect(full["left"] == "0")
        #expect(lines.last?["intact"] == full["held"])
    }

    @Test("The next image at its limit gets EMFILE at boot and at retrieve, and works with one descriptor less")
    func limitAfterTheUpdate() async throws {
        let ended = try await probe("limit-after")
        #expect(ended.status == 0, "\(ended)")
        let lines = try ended.objects().filter { $0["flb"] == nil }
        for what in ["boot", "retrieve"] {
            let failure = try #require(lines.first { $0["failed"] == what }, "\(ended)")
            #expect(failure["errno"] == "\(Errno.tooManyOpenFiles.rawValue)", "\(failure)")
            #expect(failure["remedy"]?.contains("ulimit -n") == true)
        }
        #expect(lines.contains(["variable": "kept"]))
        #expect(lines.last?["intact"] == "3")
        expectClean(try #require(lines.last), "end", files: 0)
    }

    @Test(
        "After a program that cannot be executed the update is taken back, and another one succeeds",
        arguments: [
            ("/nonexistent/next", Errno.noSuchFileOrDirectory), ("/etc/passwd", .permissionDenied),
            ("/", .permissionDenied), ("/etc/passwd/next", .notDirectory),
        ])
    func badImage(_ path: String, _ errno: Errno) async throws {
        let ended = try await probe("bad-image", path)
        #expect(ended.status == 0, "\(ended)")
        let lines = try ended.objects()
        let failures = lines.filter { $0["failed"] != nil }
        #expect(failures.count == 3)
        for failure in failures {
            #expect(failure["errno"] == "\(errno.rawValue)")
            #expect(failure["failed"]?.contains("becoming \(path)") == true)
        }
        let thawed = try #require(lines.first { $0["thawed_arena"] != nil })
        #expect(thawed["grown"] == "false")
        // Two of the files belong to the probe itself, and one is held.
        expectClean(thawed, "thawed", files: 3)
        #expect(lines.contains { $0["busy"] == "\(Errno.resourceBusy.rawValue)" })
        #expect(lines.last?["came"] == "1,2")
    }

    @Test func aFailedFreezeIsTakenBack() async throws {
        let ended = try await probe("resize")
        #expect(ended.status == 0, "\(ended)")
        let lines = try ended.objects()
        #expect(lines.first?["errno"] == "\(Errno.staleNFSFileHandle.rawValue)")
        expectClean(try #require(lines.first { $0["thawed_arena"] != nil }), "thawed", files: 4)
        #expect(lines.last?["came"] == "1,2")
        expectClean(try #require(lines.last), "end", files: 0)
    }

    @Test func unfinishedSessionsStopAnUpdateUnlessTheyAreDiscarded() async throws {
        let ended = try await probe("unfinished")
        #expect(ended.status == 0, "\(ended)")
        let lines = try ended.objects()
        let refusal = try #require(lines.first { $0["failed"] != nil })
        #expect(refusal["errno"] == "\(Errno.resourceBusy.rawValue)")
        #expect(refusal["failed"]?.contains(#""b", "c""#) == true)
        #expect(refusal["failed"]?.contains(#""a""#) == false)
        #expect(lines.filter { $0["flb"] != nil } == [["flb": "finish 7"]], "once, in the boot after the discard")
        let last = try #require(lines.last)
        #expect(last["sessions"] == "")
        expectClean(last, "end", files: 0)
    }

    @Test func anImageWithoutTheHandlerLeavesTheArenaToOneThatHasIt() async throws {
        let ended = try await probe("forget")
        #expect(ended.status == 0, "\(ended)")
        let lines = try ended.objects()
        let failure = try #require(lines.first { $0["failed"] != nil })
        #expect(failure["errno"] == "\(Errno.ioError.rawValue)")
        #expect(failure["failed"]?.contains("memfd-extents-v1") == true)
        #expect(failure["failed"]?.contains("left untouched") == true)
        #expect(lines.contains(["untouched": "true"]))
        #expect(lines.last?["came"] == "1")
    }
}

/// An image is asked for its formats before the update.
@Suite struct ImageCheckTests {
    @Test func images() async throws {
        let ended = try await probe("check")
        #expect(ended.status == 0, "\(ended)")
        let answers = Dictionary(
            uniqueKeysWithValues: try ended.objects().filter { $0["image"] != nil }.map { ($0["image"] ?? "", $0) })
        func expect(_ image: String, _ errno: Errno, _ reason: String) {
            #expect(answers[image]?["errno"] == "\(errno.rawValue)")
            #expect(answers[image]?["failed"]?.contains(reason) == true, "\(answers[image] ?? [:])")
        }
        #expect(answers["same"] == ["image": "same"])
        expect("lacking", .notSupported, #""memfd-extents-v1", which is in use"#)
        expect("other", .notSupported, "did not say which formats it knows")
        expect("missing", .noSuchFileOrDirectory, "/nonexistent")
        let lines = try ended.objects()
        let refusal = try #require(lines.first { $0["refused"] != nil })
        #expect(refusal["errno"] == "\(Errno.notSupported.rawValue)", "an update checks its image: \(refusal)")
        #expect(lines.filter { $0 == ["buffered": "yes"] }.count == 1, "buffered output is written before execve")
        #expect(lines.last?["came"] == "1", "asking changes nothing")
    }
}

/// `LUO_ARENA_FD` with a value that names no arena.
@Suite struct ArenaVariableTests {
    private func begin(_ value: String, inheriting: FileDescriptor? = nil) async throws -> (errno: Errno, text: String)
    {
        let ended = try await run(
            [Program.path("UpdateProbe"), "begin"], environment: ["LUO_ARENA_FD=\(value)"], inheriting: inheriting)
        #expect(ended.status == 1, "\(ended)")
        let line = try #require(try ended.objects().first)
        let number = try #require(line["errno"].flatMap { CInt($0) })
        return (Errno(rawValue: number), try #require(line["error"]))
    }

    @Test(arguments: ["", "x", "-1", "3x", "99999999999"]) func noDescriptor(_ value: String) async throws {
        let (errno, text) = try await begin(value)
        #expect(errno == .badFileDescriptor)
        #expect(text.contains("LUO_ARENA_FD=\(value) is no descriptor"))
    }

    @Test("A failed begin changes nothing, and another one can succeed") func afterABeginThatFailed() async throws {
        let ended = try await probe("begin-twice")
        #expect(ended.status == 0, "\(ended)")
        let lines = try ended.objects()
        let failed = try #require(lines.first { $0["failed"] != nil })
        #expect(failed["failed"]?.contains("memfd-extents-v1") == true)
        #expect(failed["same"] == "true")
        #expect(lines.last { $0["intact"] != nil } == ["intact": "true", "variable": "none"])
    }

    @Test func aClosedDescriptor() async throws {
        let (errno, text) = try await begin("77")
        #expect(errno == .badFileDescriptor)
        #expect(text.contains("LUO_ARENA_FD=77 is no descriptor"))
    }

    @Test func anotherFile() async throws {
        let file = try MemoryFile("other", bytes: [UInt8](repeating: 7, count: 65536))
        let (errno, text) = try await begin("3", inheriting: file.descriptor)
        #expect(errno == .ioError)
        #expect(text.contains("this is no arena"))
        #expect(try file.bytes() == [UInt8](repeating: 7, count: 65536), "it was not touched")
    }

    @Test func aDescriptorThatCannotBeLocked() async throws {
        let file = try MemoryFile("other", size: 65536)
        let reader = try file.descriptor.reopenedForReading()
        let (errno, text) = try await begin("3", inheriting: reader.borrowed)
        #expect(errno == .badFileDescriptor)
        #expect(text.contains("cannot be locked"))
    }

    @Test func aFileThatIsTooSmall() async throws {
        let file = try MemoryFile("other", size: 0)
        let (errno, text) = try await begin("3", inheriting: file.descriptor)
        #expect(errno == .ioError)
        #expect(text.contains("0 bytes"))
    }

    @Test func anArenaThatAnotherProcessRuns() async throws {
        let machine = try Machine()
        let arena = try machine.openArena()
        let file = try machine.file.descriptor.reopenedForWriting()
        let (errno, text) = try await begin("3", inheriting: file.borrowed)
        #expect(errno == .resourceTemporarilyUnavailable)
        #expect(text.contains("another process runs it"))
        withExtendedLifetime(arena) {}
    }
}

// SPDX-License-Identifier: Apache-2.0
import Foundation
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// An arena with a name, and the processes that use it in turn.
@Suite struct NamedArenaTests {
    private let directory: TemporaryDirectory
    private let path: String

    init() throws {
        directory = try TemporaryDirectory()
        path = directory.file("arena")
    }

    private func begin() async throws -> Ended { try await probe("named", "begin", path) }

    private func start(_ action: String) throws -> Program {
        try Program([Program.path("UpdateProbe"), "named", action, path])
    }

    @Test("After a kill at any store of its begin there is a whole arena, or none") func wholeOrNone() async throws {
        var (none, whole) = (0, 0)
        for store in 0..<1000 {
            let ended = try await probe("named", "begin", path, "--kill", "0", "\(store)")
            if ended.status == 0 { break }
            #expect(ended.status == nil, "\(ended)")
            if try directory.names == ["arena"] { whole += 1 } else { none += 1 }
            let again = try await begin()
            #expect(again.status == 0, "killed at store \(store): \(again)")
            #expect(try directory.names == ["arena"], "nothing else is left")
            try FileManager.default.removeItem(atPath: path)
        }
        #expect(none > 3 && whole > 1, "\(none) \(whole)")
    }

    @Test("A second process gets EAGAIN, with arena, reason and remedy, until the first is dead")
    func twoProcesses() async throws {
        let first = try start("hold")
        try await eventually("the first", within: 60) { try !first.outputSoFar.isEmpty }
        let second = try await begin()
        #expect(second.status == 1)
        let answer = try #require(try second.objects().first)
        #expect(answer["errno"] == "\(Errno.resourceTemporarilyUnavailable.rawValue)")
        for part in [path, "another process runs it", "end that process first", "fuser"] {
            #expect(answer["error"]?.contains(part) == true, "\(answer)")
        }
        first.kill()
        #expect(try await begin().status == 0)
    }

    @Test("If several processes find no arena, one makes it, and the others are told") func manyAtOnce() async throws {
        let programs = try (0..<6).map { _ in try start("hold") }
        try await eventually("an answer of each", within: 60) {
            try programs.allSatisfy { try !$0.outputSoFar.isEmpty }
        }
        let answers = try programs.map { try $0.outputSoFar }
        #expect(answers.filter { $0.contains(#""update":"0""#) }.count == 1, "\(answers)")
        #expect(answers.filter { $0.contains("another process runs it") }.count == 5, "\(answers)")
        #expect(try directory.names == ["arena"])
    }

    @Test("After an update the inherited file is used, which is the file of that name")
    func anUpdate() async throws {
        let program = try start("update")
        try await eventually("the update", within: 60) { try program.outputSoFar.contains(#""update":"1""#) }
        let arena = try identity(path)
        let open = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(program.process)/fd").filter {
            (try? identity("/proc/\(program.process)/fd/\($0)", following: true)) == arena
        }
        #expect(open.count == 1)
        #expect(try await begin().objects().first?["errno"] == "\(Errno.resourceTemporarilyUnavailable.rawValue)")
        program.kill()
        #expect(try await begin().objects().first?["update"] == "1", "the boot goes on")
    }

    private func identity(_ path: String, following: Bool = false) throws -> FileIdentity {
        let file = following ? try openFile(path) : try findFile(FilePath(path))
        return try FileStatus(of: file.borrowed).identity
    }

    @Test("A dead process left a session with memory files: it is open, and they are lost")
    func leftBehind() async throws {
        #expect(try await probe("named", "leave", path).status == nil)
        let line = try #require(try await begin().objects().first)
        #expect(line["open"] == "left" && line["update"] == "0")
        let found = try #require(try await probe("death", "find", path).objects().last)
        for token in ["1", "2"] {
            #expect(found[token]?.contains("lost with the last process that held it") == true, "\(found)")
        }
        #expect(found["left"] == "0 0")
        #expect(try await begin().objects().first?["sessions"] == "")
    }

    @Test("On a full tmpfs the error is ENOSPC, nothing is lost, and the state can still be handed over", .requiresRoot)
    func fullFileSystem() async throws {
        for size in ["100k", "200k", "1m"] {
            let ended = try await inNamespace(
                "mount -t tmpfs -o size=\(size) none /mnt && $PROBE named fill /mnt/arena")
            #expect(ended.status == 0, "\(ended)")
            let lines = try ended.objects()
            let full = try #require(lines.first { $0["full"] != nil })
            #expect(full["errno"] == "\(Errno.noSpace.rawValue)")
            #expect(full["remedy"]?.contains("give its file system more room") == true)
            let count = try #require(full["full"].flatMap { Int($0) })
            #expect(count > 1)
            let came = try #require(lines.last)
            #expect(came["came"] == "\(count - 1)" && came["of"] == "\(count - 1)")
        }
    }

    @Test("Without room for an arena: ENOSPC, and nothing is left", .requiresRoot) func noRoomAtAll() async throws {
        let ended = try await inNamespace(
            "mount -t tmpfs -o size=20k none /mnt; $PROBE named begin /mnt/arena; ls -A /mnt")
        #expect(ended.lines.count == 1, "\(ended)")
        #expect(try ended.objects().first?["errno"] == "\(Errno.noSpace.rawValue)")
    }

    @Test("On hugetlbfs an arena takes only the huge pages for its content", .requiresHugePages(8), .requiresRoot)
    func onHugetlbfs() async throws {
        let ended = try await inNamespace(
            """
            $PROBE death run /mnt/huge/arena /mnt/huge/guest --image 'kill -9 $$'
            stat -c '{"blocks":"%b"}' /mnt/huge/arena
            $PROBE death find /mnt/huge/arena
            """)
        let lines = try ended.objects()
        #expect(lines.first == ["blocks": "4096"], "\(ended)")
        #expect(lines.last?["1"] == "intact", "\(ended)")
    }
}

// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import TestSupport
import Testing

/// Paths for `luod --state` that luod must not harm.
@Suite struct StateDirectoryTests {
    private func luod(_ state: String, says words: String...) async throws -> CInt? {
        let ended = try await run([Program.path("luod"), "--state", state])
        #expect(ended.output.isEmpty, "\(ended)")
        for word in words + [state] { #expect(ended.errors.contains(word), "\(ended)") }
        return ended.status
    }

    private func mode(_ path: String) throws -> mode_t {
        var status = stat()
        try #require(unsafe stat(path, &status) == 0)
        return status.st_mode & 0o7777
    }

    @Test("A file, and a directory that other users may write to, stay unchanged") func others() async throws {
        let room = try TemporaryDirectory()
        let (file, shared) = (room.path + "/file", room.path + "/shared")
        try Data("text".utf8).write(to: URL(fileURLWithPath: file))
        unsafe chmod(file, 0o600)
        #expect(try await luod(file, says: "Not a directory", "name a directory") == 65)
        #expect(try mode(file) == 0o600)

        unsafe mkdir(shared, 0o700)
        unsafe chmod(shared, 0o1777)
        #expect(try await luod(shared, says: "other users may write") == 77)
        #expect(try mode(shared) == 0o1777)
        #expect(try FileManager.default.contentsOfDirectory(atPath: shared).isEmpty)

        #expect(try await luod(room.path + "/missing/state", says: "No such file or directory", "make") == 69)
        #expect(try await luod(file + "/state", says: "name another") == 65)
        let long = room.path + "/" + String(repeating: "a", count: 100)
        #expect(try await luod(long, says: "at most 96", "shorter") == 64)
        #expect(!FileManager.default.fileExists(atPath: long))
    }

    @Test("Another user's directory is refused", .requiresRoot) func anotherUser() async throws {
        let room = try TemporaryDirectory()
        try #require(unsafe chown(room.path, 65534, 65534) == 0)
        #expect(try await luod(room.path, says: "another user owns it") == 77)
        #expect(try room.names.isEmpty)
    }

    @Test("An existing directory is used, and keeps its permissions") func own() async throws {
        let room = try TemporaryDirectory()
        let before = try mode(room.path)
        let luod = try Program([Program.path("luod"), "--state", room.path])
        try await eventually("a luod that is ready", within: 60) { try luod.outputSoFar.contains("ready") }
        #expect(try mode(room.path) == before)
        #expect(try room.names.contains("liveupdate"))
        kill(luod.process, SIGTERM)
        #expect(try await luod.ended().status == 0)
    }

    @Test(
        "luod and luoctl run report too few descriptors, and luoctl run leaves nothing", .requiresRoot,
        arguments: [5, 13, 63])
    func descriptors(count: Int) async throws {
        let room = try TemporaryDirectory()
        // The hard limit is set, which root must not raise.
        let limited = "ulimit -n \(count) && exec setpriv --bounding-set -sys_resource \"$@\""
        let ended = try await run(
            ["/bin/sh", "-c", limited, "sh", Program.path("luoctl"), "run", "--", "/bin/true"],
            environment: ["TMPDIR=\(room.path)"])
        #expect(ended.status == 69 && ended.errors.contains("open files"), "\(ended)")
        #expect(try room.names.isEmpty)
    }

    @Test("--version prints the version of luoctl") func version() async throws {
        let versions = try await [
            run([Program.path("luod"), "--version"]), run([Program.path("luoctl"), "--version"]),
        ]
        #expect(versions[0].status == 0 && versions[0].lines == versions[1].lines)
    }
}

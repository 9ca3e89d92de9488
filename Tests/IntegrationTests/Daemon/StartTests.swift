// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// The start of luod, and its messages when it cannot begin.
@Suite struct StartTests {
    private let room: TemporaryDirectory
    private var state: String { room.path + "/state" }
    private var arena: String { state + "/arena" }

    init() throws { room = try TemporaryDirectory() }

    private func start(_ options: [String] = [], limits: String = "true") async throws -> Ended {
        let command = ["/bin/sh", "-c", "\(limits) && exec \"$@\"", "sh", Program.path("luod"), "--state", state]
        return try await Program(command + options).ended(within: 60)
    }

    /// Starts luod, and ends it as soon as it is ready.
    private func startAndEnd() async throws -> Ended {
        let luod = try Program([Program.path("luod"), "--state", state])
        try await eventually("a luod that is ready", within: 60) { try luod.outputSoFar.contains("ready") }
        kill(luod.process, SIGTERM)
        return try await luod.ended()
    }

    /// Checks that luod ended at once, was never ready, and logged one line that names the arena.
    private func expectRefusal(_ ended: Ended, _ status: CInt, _ words: String...) {
        #expect(ended.status == status && ended.output.isEmpty, "\(ended)")
        #expect(ended.errors.split(separator: "\n").count == 1, "\(ended)")
        for word in words + [arena] { #expect(ended.errors.contains(word), "\(word): \(ended)") }
    }

    // MARK: An arena that cannot be read

    enum Damage: String, CaseIterable {
        case version, zeros, empty, cut, checksum, journal

        var gate: String {
            switch self {
            case .version: "version"
            case .zeros: "magic"
            case .empty, .cut: "size"
            case .checksum: "checksum"
            case .journal: "journal"
            }
        }

        func apply(to path: String) throws {
            let file = try #require(FileHandle(forUpdatingAtPath: path))
            func write(_ bytes: [UInt8], at offset: UInt64) throws {
                try file.seek(toOffset: offset)
                try file.write(contentsOf: bytes)
            }
            switch self {
            case .version: try write([7], at: 8)
            case .zeros: try write([UInt8](repeating: 0, count: 4096), at: 0)
            case .empty: try file.truncate(atOffset: 0)
            case .cut: try file.truncate(atOffset: 8192)
            // The header of the first journal, and its first record.
            case .checksum: try write([255], at: 4100)
            case .journal: try write([255, 255, 255, 255], at: 4200)
            }
        }
    }

    @Test(
        "With a damaged arena, or one of another version, luod ends with 65, and does not change it",
        arguments: Damage.allCases)
    func damaged(damage: Damage) async throws {
        #expect(try await startAndEnd().status == 0)
        try damage.apply(to: arena)
        let before = try Data(contentsOf: URL(fileURLWithPath: arena))
        expectRefusal(try await start(), 65, damage.gate, "start the ")
        #expect(try Data(contentsOf: URL(fileURLWithPath: arena)) == before)
        let status = try await luoctl("status", "--state", state)
        #expect(status.status == 69, "\(status)")
    }

    @Test("A directory, a link or a pipe in the arena's place counts as damage") func noFile() async throws {
        unsafe mkdir(state, 0o700)
        unsafe mkdir(arena, 0o700)
        expectRefusal(try await start(), 65, "regular file")
        unsafe rmdir(arena)
        unsafe mkfifo(arena, 0o600)
        expectRefusal(try await start(), 65, "regular file")
        unsafe unlink(arena)
        unsafe symlink("/etc/passwd", arena)
        expectRefusal(try await start(), 65, "regular file")
    }

    @Test("An arena that another user owns, or may write to: 65") func foreignArena() async throws {
        #expect(try await startAndEnd().status == 0)
        unsafe chmod(arena, 0o620)
        expectRefusal(try await start(), 65, "other users may write to it", "remove it")
        guard geteuid() == 0 else { return }
        unsafe chmod(arena, 0o600)
        unsafe chown(arena, 65534, 65534)
        expectRefusal(try await start(), 65, "luod's own file", "remove it")
    }

    enum Foreign: CaseIterable { case directory, pipe, link }

    @Test(
        "A foreign object in the place of a state file is left unchanged: 65", arguments: Foreign.allCases,
        ["arena.new", "control", "liveupdate", "calls"])
    func foreign(kind: Foreign, name: String) async throws {
        unsafe mkdir(state, 0o700)
        let path = "\(state)/\(name)"
        switch kind {
        case .directory: unsafe mkdir(path, 0o700)
        case .pipe: unsafe mkfifo(path, 0o600)
        case .link: unsafe symlink("/dev/null", path)
        }
        let before = try FileStatus(at: path, followingLinks: false).identity
        let ended = try await start()
        #expect(ended.status == 65 && ended.output.isEmpty, "\(ended)")
        #expect(ended.errors.contains(path) && ended.errors.contains("remove it"), "\(ended)")
        #expect(try FileStatus(at: path, followingLinks: false).identity == before)
    }

    @Test("If no client can connect to a passed descriptor: 69, and never ready") func noListener() async throws {
        let file = try openFile("/dev/null")
        let (connected, other) = try MessageSocket.pair()
        defer { for end in [connected, other] { try? closeDescriptor(end) } }
        for passed in [file.borrowed, connected] {
            let command = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\""
            let luod = try Program(
                ["/bin/sh", "-c", command, "sh", Program.path("luod"), "--state", state], inheriting: passed)
            let ended = try await luod.ended(within: 60)
            #expect(ended.status == 69 && ended.output.isEmpty && ended.errors.contains("LISTEN_FDS"), "\(ended)")
        }
    }

    @Test("With a service manager a refused start never reports that it is ready") func neverReady() async throws {
        let manager = try ServiceManager()
        manager.start()
        #expect(try await startAndEnd().status == 0)
        try Damage.version.apply(to: arena)
        let ended = try await run([Program.path("luod"), "--state", state], environment: manager.environment)
        #expect(ended.status == 65)
        #expect(!manager.lines.contains("READY=1"))
    }

    @Test("A private luod gives the reason, and removes its state", .requiresRoot) func privateLuod() async throws {
        let small = room.path + "/small"
        let script = """
            mkdir \(small) && mount -t tmpfs -o size=32k none \(small) && TMPDIR=\(small) "$0" run -- /bin/true
            code=$?; ls -A \(small); exit $code
            """
        let ended = try await run(["/usr/bin/unshare", "-m", "/bin/sh", "-c", script, Program.path("luoctl")])
        #expect(ended.status == 69 && ended.errors.contains("space") && ended.output.isEmpty, "\(ended)")
    }

    // MARK: Shortages

    @Test("On a tmpfs that is too small: 69, and nothing is left half made", .requiresRoot, arguments: ["32k", "64k"])
    func smallFileSystem(size: String) async throws {
        unsafe mkdir(state, 0o700)
        let script =
            "mount -t tmpfs -o size=\(size),mode=711 none \(state) && timeout 10 \"$0\" --state \(state); code=$?; "
            + "ls -A \(state) | grep arena; exit $code"
        let ended = try await run(["/usr/bin/unshare", "-m", "/bin/sh", "-c", script, Program.path("luod")])
        if size == "32k" {
            #expect(ended.output.isEmpty)
            expectRefusal(ended, 69, "space", "room")
        } else {
            // The arena fits exactly, and the sockets need no page. luod runs until the time limit.
            #expect(ended.status == 124 || ended.status == 0, "\(ended)")
        }
    }

    @Test("Limits on memory and on the size of files: 69", arguments: ["ulimit -v 800000", "ulimit -f 8"])
    func limits(limit: String) async throws {
        expectRefusal(try await start(limits: limit), 69, "ulimit")
    }

    @Test("A file beyond RLIMIT_FSIZE is ENOSPC, and ends no process") func fileSize() async throws {
        // The arena fits, and cannot grow.
        let command = "ulimit -f 512 && exec \"$@\""
        let luod = try Program(["/bin/sh", "-c", command, "sh", Program.path("luod"), "--state", state])
        try await eventually("a luod that is ready", within: 60) { try luod.outputSoFar.contains("ready") }
        let client = try DaemonClient(connectingTo: state + "/liveupdate")
        let orchestrator = try client.status().orchestrator
        let session = try client.create("s")
        let file = try MemoryFile()
        var refused: Errno?
        for token in 0..<10_000 where refused == nil {
            refused = try refusal { try session.preserve(file.descriptor, UInt64(token), as: .preserveHeld) }
            if refused == .resourceBusy || refused == .fileExists { refused = nil }
        }
        #expect(refused == .noSpace)
        #expect(try client.status().orchestrator == orchestrator)
        kill(luod.process, SIGTERM)
        #expect(try await luod.ended().status == 0)
    }

    // MARK: Making an arena

    @Test("If several luods start at once on a new state, one runs, and the others say so") func atOnce() async throws {
        for _ in 0..<Scale.count(8) {
            let luods = try (0..<4).map { _ in try Program([Program.path("luod"), "--state", state]) }
            try await eventually("one that runs", within: 60) {
                try luods.filter(\.hasEnded).count == 3 && luods.contains { try $0.outputSoFar.contains("ready") }
            }
            for luod in luods where luod.hasEnded {
                let ended = try await luod.ended()
                #expect(ended.status == 69 && ended.output.isEmpty, "\(ended)")
            }
            let running = try #require(luods.first { !$0.hasEnded })
            #expect(try await luoctl("status", "--state", state).status == 0)
            kill(running.process, SIGTERM)
            #expect(try await running.ended().status == 0)
            #expect(!FileManager.default.fileExists(atPath: arena + ".new"))
            try FileManager.default.removeItem(atPath: state)
        }
    }

    @Test("The next start uses or removes the unfinished file of a killed luod", arguments: [false, true])
    func leftover(hasArena: Bool) async throws {
        unsafe mkdir(state, 0o700)
        if hasArena { #expect(try await startAndEnd().status == 0) }
        try Data(repeating: 0x55, count: 70_000).write(to: URL(fileURLWithPath: arena + ".new"))
        #expect(try await startAndEnd().status == 0)
        #expect(!FileManager.default.fileExists(atPath: arena + ".new"))
        #expect(try await luoctl("inspect", arena).status == 0)
    }

    @Test("After a kill at any moment of a first start the next luod can begin") func killed() async throws {
        for step in 0..<Scale.count(40) {
            let luod = try Program([Program.path("luod"), "--state", state])
            usleep(useconds_t(step * 500))
            luod.kill()
            let next = try Program([Program.path("luod"), "--state", state])
            try await eventually("the next one", within: 60) {
                try next.outputSoFar.contains("ready") || next.hasEnded
            }
            kill(next.process, SIGTERM)
            let ended = try await next.ended()
            // The killed luod may still be ending, and its orchestrator may go on for this keeper.
            #expect(ended.status == 0 || ended.status == 69, "\(step): \(ended)")
            // A process that was starting when its keeper was killed may not have its arguments yet.
            for _ in 0..<10 {
                for process in daemonProcesses() { kill(process, SIGKILL) }
                usleep(2_000)
            }
            if FileManager.default.fileExists(atPath: arena) {
                let bytes = try Data(contentsOf: URL(fileURLWithPath: arena)).prefix(8)
                #expect(bytes == Data("LUOARENA".utf8), "\(step)")
            }
            try? FileManager.default.removeItem(atPath: state)
        }
    }

    private func daemonProcesses() -> [pid_t] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return names.compactMap { pid_t($0) }.filter { process in
            let line = try? String(contentsOfFile: "/proc/\(process)/cmdline", encoding: .utf8)
            return line?.split(separator: "\0").contains(Substring(state)) == true
        }
    }

    // MARK: Options

    @Test(
        "Text that is not a number, and numbers out of range, are refused",
        arguments: [
            ["--max-descriptors", "9223372036854775807"], ["--max-descriptors", "63"],
            ["--max-arena", "18446744073709551615"], ["--max-arena", "1X"], ["--max-arena", "99999999T"],
            ["--max-user-arena", "-1"], ["--max-sessions", "0"], ["--max-files", "9223372036854775807"],
            ["--max-user-descriptors", "1e3"], ["--patience", "18446744073709551615"], ["--patience", "86400001"],
            ["--socket-mode", "99999"], ["--socket-mode", "0888"], ["--socket-mode", "01666"], ["--socket-mode", "-1"],
            ["--socket-group", "no such group"], ["--socket-group", "4294967295"], ["--socket-group", "4294967296"],
            ["--state", ""], ["--socket-mode"],
        ])
    func options(option: [String]) async throws {
        let ended = try await start(option)
        #expect(ended.status == 64 && ended.output.isEmpty && ended.errors.contains(option[0]), "\(ended)")
        #expect(!FileManager.default.fileExists(atPath: state))
    }

    @Test(
        "The largest numbers do not trap",
        arguments: [
            ["--max-descriptors", "1073741824"], ["--patience", "86400000"], ["--max-sessions", "1073741824"],
            ["--max-files", "1073741824", "--max-user-descriptors", "1073741824", "--max-user-arena", "64T"],
            ["--max-arena", "64M"],
        ])
    func largest(options: [String]) async throws {
        let luod = try Program([Program.path("luod"), "--state", state] + options)
        try await eventually("a luod that is ready", within: 60) { try luod.outputSoFar.contains("ready") }
        let client = try DaemonClient(connectingTo: state + "/liveupdate")
        #expect(try client.change(.update) == nil)
        kill(luod.process, SIGTERM)
        #expect(try await luod.ended().status == 0)
    }

    /// Without the options, luod would use the state of the machine.
    @Test("An empty LUO_STATE is as none") func emptyVariable() async throws {
        let ended = try await run([Program.path("luod"), "--version"], environment: ["LUO_STATE="])
        #expect(ended.status == 0, "\(ended)")
    }

    @Test("--help has all defaults and exit codes") func help() async throws {
        let ended = try await run([Program.path("luod"), "--help"])
        #expect(ended.status == 0)
        for word in [
            "/run/luo", "0600", "4096", "65536", "16384", "256M", "1G", "5000", " 0 ", " 1 ", " 64 ", " 65 ", " 69 ",
            " 77 ",
        ] { #expect(ended.output.contains(word), "\(word)") }
    }
}

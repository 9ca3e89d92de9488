// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdatePlatform
import TestSupport
import Testing

/// The programs in Examples.
@Suite struct ExampleTests {
    @Test func keep() async throws {
        let ended = try await run([Program.path("Keep")])
        #expect(ended.status == 0, "\(ended)")
        #expect(ended.output.hasPrefix("the same file, inode "))
    }

    @Test func keepListening() async throws {
        let ended = try await run([Program.path("KeepListening")])
        #expect(ended.status == 0, "\(ended)")
        #expect(ended.lines.count == 3)
        for (token, line) in ended.lines.prefix(2).enumerated() {
            #expect(line.hasSuffix("a client waited, and says \"hello \(token)\""))
        }
        #expect(ended.lines.last?.hasPrefix("2 sockets came; ") == true)
    }
}

/// Examples/CacheServer: a service that updates itself while clients use it, and hands over to a new process.
@Suite struct CacheServerHandOverTests {
    @Test("Under load, five hand-overs lose no request, and each begins a new process with the same memory")
    func load() async throws {
        let server = try await Server(inPlace: false)
        let loads = try (0..<2).map { _ in try Program([Program.path("CacheService"), "load", server.socket]) }
        while try await !server.ask("info").contains(" 128 keys, ") { try #require(loads.allSatisfy { !$0.hasEnded }) }
        let inode = try await server.ask("info").split(separator: " ").last
        var processes: Set<pid_t> = [try await server.current()]
        for number in 1...5 {
            kill(try await server.current(), SIGHUP)
            try await server.waitForBoot(number)
            processes.insert(try await server.current())
        }
        #expect(processes.count == 6)
        #expect(try await server.ask("info").split(separator: " ").last == inode, "the same file")
        for load in loads {
            kill(load.process, SIGTERM)
            let ended = try await load.ended()
            #expect(ended.status == 0 && ended.output.hasSuffix("64 values, none lost\n"), "\(ended)")
        }
        #expect(try await server.program.running.ended().status == 0, "the first process has ended by itself")
        try await server.endCurrent()
        #expect(!FileManager.default.fileExists(atPath: server.socket))
    }

    @Test("A hand-over to a wrong program is called off, and clients do not notice") func aWrongProgram() async throws {
        let server = try await Server(inPlace: false)
        #expect(try await server.ask("set color blue") == "ok")
        try await server.replaceProgram(with: "/bin/true")
        server.signal(SIGHUP)
        try await eventually("the refusal", within: 30) {
            try server.program.running.errorsSoFar.contains("no update: the image ended: exit code 0")
        }
        #expect(try await server.ask("get color") == "blue")
        try await server.replaceProgram(with: Program.path("CacheServer"))
        server.signal(SIGHUP)
        try await server.waitForBoot(1)
        #expect(try await server.ask("get color") == "blue")
        try await server.endCurrent()
    }

    @Test("The memory can be on huge pages", .requiresHugePages(2)) func hugePages() async throws {
        let server = try await Server(["--huge"], inPlace: false)
        #expect(try await server.ask("set color blue") == "ok")
        server.signal(SIGHUP)
        try await server.waitForBoot(1)
        #expect(try await server.ask("get color") == "blue")
        try await server.endCurrent()
    }

    @Test("With the arena in a file, the new process finds what the old one handed over") func namedArena() async throws
    {
        let arena = "/dev/shm/cache-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: arena) }
        let server = try await Server(["--arena", arena], inPlace: false)
        #expect(try await server.ask("set color blue") == "ok")
        for number in 1...2 {
            kill(try await server.current(), SIGHUP)
            try await server.waitForBoot(number)
        }
        #expect(try await server.ask("get color") == "blue")
        try await server.endCurrent()
    }
}

/// Examples/CacheServer: a service that updates itself in place while clients use it.
@Suite struct CacheServerTests {
    @Test func theDataStaysOverAnUpdate() async throws {
        let server = try await Server()
        #expect(try await server.ask("set color blue") == "ok")
        let before = try await server.ask("info")
        try await server.update(to: 1)
        #expect(try await server.ask("get color") == "blue")
        #expect(try await server.ask("info") == before.replacing("boot 0", with: "boot 1"), "process and inode stay")
        #expect(try await server.end().status == 0)
        #expect(!FileManager.default.fileExists(atPath: server.socket))
    }

    @Test(.requiresHugePages(2)) func theDataCanBeOnHugePages() async throws {
        let server = try await Server(["--huge"])
        #expect(try await server.ask("set color blue") == "ok")
        try await server.update(to: 1)
        #expect(try await server.ask("get color") == "blue")
        try await server.end()
    }

    @Test("No client is refused during an update") func clientsInAnUpdate() async throws {
        let server = try await Server()
        let clients = Task {
            for number in 0..<40 {
                let answer = try await server.ask("set key\(number) \(number)")
                #expect(answer == "ok")
            }
        }
        for number in 1...5 { try await server.update(to: number) }
        try await clients.value
        for number in 0..<40 { #expect(try await server.ask("get key\(number)") == "\(number)") }
        try await server.end()
    }

    @Test("The server becomes the program that is at its path at that time") func aNewProgram() async throws {
        let server = try await Server()
        let old = try server.image
        try await server.replaceProgram(with: Program.path("CacheServer"))
        #expect(try server.image == "\(old) (deleted)")
        try await server.update(to: 1)
        #expect(try server.image == old)
        try await server.end()
    }

    @Test("A program that cannot take over changes nothing") func aWrongProgram() async throws {
        let server = try await Server()
        #expect(try await server.ask("set color blue") == "ok")
        try await server.replaceProgram(with: "/bin/true")
        server.signal(SIGHUP)
        #expect(try await server.ask("get color") == "blue")
        #expect(try await server.ask("info").hasPrefix("boot 0, "))
        let ended = try await server.end()
        #expect(ended.status == 0)
        #expect(ended.errors.contains("no update: \(server.program.path) did not say which formats it knows"))
    }

    @Test("After a kill, with the arena in a file, the socket comes back, and the memory file is reported as lost")
    func killed() async throws {
        let arena = "/dev/shm/cache-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: arena) }
        let first = try await Server(["--arena", arena])
        #expect(try await first.ask("set color blue") == "ok")
        try await first.update(to: 1)
        first.signal(SIGKILL)
        _ = try await first.program.running.ended()

        let second = try await Server(["--arena", arena], after: first)
        #expect(try await second.ask("get color") == "(nothing)")
        #expect(try await second.ask("info").hasPrefix("boot 1, "))
        #expect(try await second.end().errors.contains("was lost with the last process that held it"))
    }

    @Test("After a kill, with the data on hugetlbfs, nothing is lost", .requiresRoot, .requiresHugePages(2))
    func killedWithNamedData() async throws {
        let arena = "/dev/shm/cache-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: arena) }
        let ended = try await run([
            "/usr/bin/unshare", "--mount", "--propagation", "private", "/bin/sh", "-euc", Self.killedScript,
            Program.path("CacheServer"), arena,
        ])
        #expect(ended.status == 0, "\(ended)")
        #expect(ended.lines == ["ok", "blue"], "\(ended)")
    }

    private static let killedScript = """
        mount -t hugetlbfs -o pagesize=2M none /mnt
        start() {
            "$0" /tmp/cache-$$ --arena "$1" --data /mnt/data --in-place &
            pid=$!
            until "$0" ask /tmp/cache-$$ info >/dev/null 2>&1; do sleep 0.1; done
        }
        start "$1"
        "$0" ask /tmp/cache-$$ "set color blue"
        kill -KILL $pid
        wait $pid || true
        start "$1"
        "$0" ask /tmp/cache-$$ "get color"
        kill -TERM $pid
        wait $pid
        """
}

/// A server of a test, with its own program file and directory.
private final class Server: Sendable {
    struct Started: Sendable {
        let path: String
        let running: Program
    }

    let program: Started
    let socket: String
    private let directory: URL

    /// Starts a server. If there is a `predecessor`, the server uses its directory and program.
    init(_ options: [String] = [], inPlace: Bool = true, after predecessor: Server? = nil) async throws {
        directory =
            predecessor?.directory
            ?? FileManager.default.temporaryDirectory.appendingPathComponent("cache-\(UUID().uuidString)")
        let path = directory.appendingPathComponent("CacheServer").path
        socket = directory.appendingPathComponent("socket").path
        if predecessor == nil {
            try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: false)
            // Another process copies the file. Otherwise, a program that this process starts meanwhile would have the
            // copy open for writing.
            _ = try await run(["/usr/bin/install", "-m", "755", Program.path("CacheServer"), path])
        }
        program = Started(path: path, running: try Program([path, socket] + options + (inPlace ? ["--in-place"] : [])))
        let question = [Program.path("CacheServer"), "ask", socket, "info"]
        while try await run(question).status != 0 { try #require(!program.running.hasEnded) }
    }

    deinit {
        program.running.kill()
        try? FileManager.default.removeItem(at: directory)
    }

    func ask(_ request: String) async throws -> String {
        let ended = try await run([Program.path("CacheServer"), "ask", socket, request])
        #expect(ended.status == 0, "\(ended)")
        return ended.lines.first ?? ""
    }

    func signal(_ number: CInt) { _ = Glibc.kill(program.running.process, number) }

    /// Updates the server, and waits for the update.
    func update(to boot: Int) async throws {
        signal(SIGHUP)
        while try await !ask("info").hasPrefix("boot \(boot), ") { try #require(!program.running.hasEnded) }
    }

    // MARK: After hand-overs

    func waitForBoot(_ boot: Int) async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        while try await !ask("info").hasPrefix("boot \(boot), ") { try #require(ContinuousClock.now < deadline) }
    }

    /// The process that serves now.
    func current() async throws -> pid_t {
        let words = try await ask("info").split(separator: " ")
        return try #require(words.count > 3 ? pid_t(words[3].dropLast()) : nil)
    }

    /// Ends the process that serves now, which is not a child of the test.
    func endCurrent() async throws {
        let process = try RunningProcess(try await current())
        kill(process.id, SIGTERM)
        let hasEnded = process.waitForEnd(10_000)
        #expect(hasEnded)
    }

    /// Replaces the program as package managers do: the file is not written to, but another file gets its name.
    func replaceProgram(with other: String) async throws {
        let new = directory.appendingPathComponent("new").path
        _ = try await run(["/usr/bin/install", "-m", "755", other, new])
        unsafe try #require(rename(new, program.path) == 0)
    }

    /// The path of the running program's file.
    var image: String {
        get throws {
            try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(program.running.process)/exe")
        }
    }

    @discardableResult
    func end() async throws -> Ended {
        signal(SIGTERM)
        return try await program.running.ended()
    }
}

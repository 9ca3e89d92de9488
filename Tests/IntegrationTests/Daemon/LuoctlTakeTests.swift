// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// `luoctl retrieve --take`: after each failure a file is either in its session, or the program has it.
@Suite struct LuoctlTakeTests {
    private let daemon: RunningDaemon
    private let client: DaemonClient
    private static let tokens: [UInt64] = [1, 2, 3, 4, 5, 6]

    init() async throws {
        daemon = try await RunningDaemon()
        client = try daemon.connect()
        let session = try client.create("vm")
        for token in Self.tokens { try session.preserve(try MemoryFile(bytes: Array("file \(token)\n".utf8)), token) }
        try session.setDetached(true)
        session.close()
    }

    /// Lets luoctl retrieve files and become a program. `before` is a shell command that runs first.
    private func take(
        _ program: [String], tokens: [UInt64] = tokens, before: String = "true", with tracer: [String] = []
    ) async throws -> Ended {
        try await run(
            ["/bin/sh", "-c", "\(before) && exec \"$@\"", "sh"] + tracer
                + [Program.path("luoctl"), "retrieve", "--session", "vm", "--take", "--state", daemon.state]
                + tokens.flatMap { ["--token", "\($0)"] } + ["--"] + program)
    }

    private func tokens() throws -> [String] {
        try client.status().sessions.first?.files.map(\.token).sorted() ?? []
    }

    private var all: [String] { Self.tokens.map(String.init) }

    /// Checks that each file has its content.
    private func checkContents() throws {
        let session = try client.attach("vm")
        for token in Self.tokens {
            #expect(try session.get(token).bytes() == Array("file \(token)\n".utf8), "token \(token)")
        }
        session.close()
    }

    @Test("A low limit on open files is an error, and no file is lost", arguments: 4...20)
    func fewDescriptors(limit: Int) async throws {
        let ended = try await take(["/bin/sh", "-c", "exit 42"], before: "ulimit -n \(limit)")
        if ended.status == 42 {
            #expect(try tokens() == [], "\(ended)")
        } else {
            #expect([1, 69].contains(ended.status), "\(ended)")
            #expect(ended.errors.contains("EMFILE") || ended.errors.contains("Too many open files"), "\(ended)")
            #expect(try tokens() == all, "\(ended)")
            try checkContents()
        }
        #expect(limit < 20 || ended.status == 42, "\(ended)")
    }

    @Test("A wrong token, no program, or a program that cannot be executed loses no file") func failures() async throws
    {
        let room = try TemporaryDirectory()
        let odd = room.file("odd")
        _ = try await run(["/bin/sh", "-c", "printf '\\001' >\"$0\"; chmod 755 \"$0\"", odd])
        #expect(try await take(["/bin/true"], tokens: [1, 2, 99]).status == 1)
        #expect(try await take(["/nowhere"]).status == 127)
        #expect(try await take(["/etc/passwd"]).status == 126)
        #expect(try await take([odd]).status == 126)
        #expect(try tokens() == all)
        try checkContents()
    }

    @Test("Held descriptors are put back as held descriptors") func held() async throws {
        let file = try MemoryFile()
        let session = try client.attach("vm")
        try session.preserve(file.descriptor, 7, as: .preserveHeld)
        session.close()
        let room = try TemporaryDirectory()
        let odd = room.file("odd")
        _ = try await run(["/bin/sh", "-c", "printf '\\001' >\"$0\"; chmod 755 \"$0\"", odd])
        #expect(try await take([odd], tokens: [7, 1]).status == 126)
        let files = try #require(try client.status().sessions.first).files
        #expect(files.first { $0.token == "7" }?.compatible == "held-fd-v1")
        #expect(files.first { $0.token == "1" }?.compatible == "memfd-extents-v1")
    }

    @Test("The program has the files in the order of the tokens, and luod no longer has them") func taken()
        async throws
    {
        let ended = try await take(["/bin/sh", "-c", "cat <&3; cat <&4; test ! -e /proc/$$/fd/5"], tokens: [6, 2])
        #expect(ended.status == 0 && ended.output == "file 6\nfile 2\n", "\(ended)")
        #expect(try tokens() == ["1", "3", "4", "5"])
    }

    @Test("More files than the initial limit on open files allows") func many() async throws {
        let session = try client.create("many")
        for token in 0..<300 { try session.preserve(try MemoryFile(), UInt64(token)) }
        try session.setDetached(true)
        session.close()
        let ended = try await run(
            ["/bin/sh", "-c", "ulimit -S -n 256 && exec \"$@\"", "sh", Program.path("luoctl"), "retrieve", "--session"]
                + ["many", "--take", "--state", daemon.state] + (0..<300).flatMap { ["--token", "\($0)"] }
                + ["--", "/bin/sh", "-c", "test -e /proc/$$/fd/302 && test ! -e /proc/$$/fd/303"])
        #expect(ended.status == 0, "\(ended)")
    }

    private static let canTrace = FileManager.default.isExecutableFile(atPath: "/usr/bin/strace")

    @Test("A kill before any of its system calls loses no file", .enabled(if: canTrace)) func killSweep()
        async throws
    {
        // No other test opens this program.
        let room = try TemporaryDirectory()
        let program = room.file("program")
        _ = try await run(
            ["/bin/sh", "-c", "printf '#!/bin/sh\\nexit 42\\n' >\"$0\"; chmod 755 \"$0\"", program])
        var kills = 0
        // The first message to luod comes first, because before it no file can be lost.
        for call in ["sendmsg", "recvmsg", "dup3", "execve"] {
            for number in 1... {
                let tracer = [
                    "/usr/bin/strace", "-qq", "-o", "/dev/null", "-e", "inject=\(call):signal=KILL:when=\(number)",
                ]
                let ended = try await take([program], with: tracer)
                if ended.status == 42 {
                    #expect(try tokens() == [])
                    try restore()
                    break
                }
                kills += 1
                try await eventually("all files after a kill at \(call) \(number)", within: 5) { try tokens() == all }
                try #require(try tokens() == all, "\(call) \(number)")
                try await eventually("the session is free", within: 20) {
                    try client.status().sessions.first?.isAttached == false
                }
            }
        }
        #expect(kills > 20)
        try checkContents()
    }

    private func restore() throws {
        let session = try client.attach("vm")
        for token in Self.tokens { try session.preserve(try MemoryFile(bytes: Array("file \(token)\n".utf8)), token) }
        session.close()
    }

    @Test("unpreserve removes all named files, or none") func unpreserve() async throws {
        func unpreserve(_ tokens: UInt64...) async throws -> Ended {
            try await run(
                [Program.path("luoctl"), "unpreserve", "--session", "vm", "--state", daemon.state]
                    + tokens.flatMap { ["--token", "\($0)"] })
        }
        let unknown = try await unpreserve(1, 99, 2)
        #expect(unknown.status == 1 && unknown.errors.contains("token 99") && unknown.errors.contains("nothing"))
        #expect(try await unpreserve(1, 1).status == 64)
        #expect(try tokens() == all)
        #expect(try await unpreserve(1, 6, 3).status == 0)
        #expect(try tokens() == ["2", "4", "5"])
        let held = try client.attach("vm")
        let busy = try await unpreserve(2)
        #expect(busy.status == 1 && busy.errors.contains("EBUSY"), "\(busy)")
        held.close()
        #expect(try client.change(.update) == nil)
        #expect(try await unpreserve(2).status == 1, "it came over an update")
    }
}

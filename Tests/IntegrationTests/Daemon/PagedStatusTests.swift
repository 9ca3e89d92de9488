// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// STATUS in pages, over the socket.
@Suite(.requiresRoot) struct PagedStatusTests {
    private let daemon: RunningDaemon
    private let user: uid_t = 2002

    init() async throws { daemon = try await RunningDaemon(["--socket-mode", "0666"]) }

    /// Makes a detached session with `count` tokens for one file. Held descriptors allow this.
    private func fill(_ client: DaemonClient, _ name: SessionName, _ count: Int) throws {
        let session = try client.create(name)
        let file = try MemoryFile()
        for token in 0..<count { try session.preserve(file.descriptor, UInt64(token), as: .preserveHeld) }
        try session.setDetached(true)
        session.close()
    }

    @Test("A page has 64 KiB at most, all pages together have everything, and each user sees only own sessions")
    func pages()
        throws
    {
        let (root, mine) = (try daemon.connect(), try daemon.connect(as: user))
        try fill(root, "a", 1200)
        try fill(mine, "a", 700)
        for number in 0..<300 { try fill(mine, SessionName("empty\(number)"), 0) }
        func read(_ client: DaemonClient) throws -> (status: LuodStatus, pages: Int) {
            var (lines, next, count): ([LuodStatus.Line], StatusCall, Int) = ([], StatusCall(), 0)
            repeat {
                let page = try client.statusPage(next)
                #expect(page.bytes <= 4 + 24 + 8 + 64 << 10)
                (lines, next, count) = (lines + page.lines, page.next, count + 1)
            } while !next.isFirst
            return (try #require(LuodStatus(lines)), count)
        }
        let all = try read(root)
        #expect(all.status.sessions.map(\.files.count) == [1200, 700] + [Int](repeating: 0, count: 300))
        #expect(all.status.sessions[0].files.map(\.token) == (0..<1200).map { "\($0)" })
        #expect((4...12).contains(all.pages), "\(all.pages)")
        let own = try read(mine)
        #expect(own.status.sessions.count == 301 && own.status.sessions.allSatisfy { $0.owner == user })
        #expect(own.pages < all.pages)
    }

    @Test("An update between two pages gives ESTALE, and the death of an orchestrator does not") func between() throws {
        let client = try daemon.connect()
        try fill(client, "a", 1200)
        let first = try client.statusPage()
        #expect(!first.next.isFirst)
        Glibc.kill(try client.status().orchestrator, SIGKILL)
        let second = try client.statusPage(first.next)
        #expect(first.lines.last?.file != nil && second.lines.first?.session?.name == "a")
        #expect(try client.change(.reload) == nil)
        #expect(try client.statusPage(first.next).lines == second.lines)
        #expect(try client.change(.update) == nil)
        #expect(throws: Refused(errno: .staleNFSFileHandle)) { try client.statusPage(first.next) }
        #expect(try client.status().sessions.map(\.files.count) == [1200])
    }

    @Test("Clients that do not read get one page each, and luod needs no memory for the other pages") func unread()
        async throws
    {
        let root = try daemon.connect()
        try fill(root, "a", 1000)
        let orchestrator = try root.status().orchestrator
        let before = try Self.anonymousMemory(of: orchestrator)
        let greedy = try (0..<50).map { _ in try daemon.connect() }
        for client in greedy {
            for tag in 1...UInt64(20) { try client.ask(.status, StatusCall().body, tag: tag) }
        }
        for _ in 0..<20 { _ = try root.status() }
        #expect(greedy[0].descriptor.isReadable(within: 60_000))
        let after = try Self.anonymousMemory(of: orchestrator)
        #expect(after < before + 16 << 20, "\(before) to \(after) bytes")
        for client in greedy {
            for tag in 1...UInt64(20) {
                #expect(client.descriptor.isReadable(within: 60_000))
                let message = try #require(try client.descriptor.receive(.now, room: 80_000))
                #expect(message.descriptors.isEmpty && message.bytes.count > 30_000)
                #expect(message.bytes[28..<36].reversed().reduce(0) { $0 << 8 | UInt64($1) } == tag)
            }
            #expect(!client.descriptor.isReadable(within: 0))
        }
    }

    /// The anonymous memory of a process in bytes.
    private static func anonymousMemory(of process: pid_t) throws -> Int {
        let text = try String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8)
        let line = try #require(text.split(separator: "\n").first { $0.hasPrefix("RssAnon:") })
        return try #require(Int(line.split(separator: " ")[1])) << 10
    }

    @Test("PING answers each client, and does nothing") func ping() throws {
        for client in [try daemon.connect(), try daemon.connect(as: user)] {
            #expect(try client.call(.ping, WordCall().body).body == WordCall().body)
        }
    }
}

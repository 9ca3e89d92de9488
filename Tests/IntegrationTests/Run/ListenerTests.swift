// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// The listener of each program under `luoctl run` counts against its user once.
@Suite(.requiresRoot) struct ListenerTests {
    /// The programs, which end with the test.
    private let programs: Guarded<[Program]> = Guarded([])

    @Test("A listener that is held already gives EBUSY, however often it is passed") func twice() async throws {
        let daemon = try await RunningDaemon()
        let client = try daemon.connect()
        let listener = try #require(try await runningPrograms(1, daemon).first)
        for _ in 0..<3 {
            #expect(try refusal { try client.call(.serve, WordCall().body, listener.descriptor) } == .resourceBusy)
        }
        try await expectListeners(1, in: client)
    }

    @Test("A repeated request after the death of the orchestrator that held the listener is done, and held once")
    func repeated() async throws {
        let daemon = try await RunningDaemon()
        let client = try daemon.connect()
        let listener = try #require(try await runningPrograms(1, daemon).first)
        let dead = try client.status().orchestrator
        try RunningProcess(dead).kill()
        #expect(try refusal { try client.call(.serve, WordCall().body, listener.descriptor) } == nil)
        #expect(try client.status().orchestrator != dead)
        try await expectListeners(1, in: client)
    }

    @Test("Each listener counts for its user: EMFILE at the limit, but not for root") func limit() async throws {
        let daemon = try await RunningDaemon()
        let found = try await runningPrograms(8, daemon)
        let other = try await RunningDaemon(["--socket-mode", "0666", "--max-user-descriptors", "6"])
        let (user, root) = (try other.connect(as: 2002), try other.connect())
        let answers = try found.map { listener in
            try refusal { try user.call(.serve, WordCall().body, listener.descriptor) }
        }
        // The connection of this client counts, too.
        #expect(answers == [nil, nil, nil, nil, nil, .tooManyOpenFiles, .tooManyOpenFiles, .tooManyOpenFiles])
        #expect(try refusal { try user.create("s") } == .tooManyOpenFiles)
        #expect(try root.change(.update) == nil)
        try await expectListeners(5, in: root)
    }

    /// Starts programs under `luoctl run`.
    ///
    /// - Returns: their listeners.
    private func runningPrograms(_ count: Int, _ daemon: RunningDaemon) async throws -> [MemoryFile] {
        for _ in 0..<count {
            let command = [Program.path("luoctl"), "run", "--state", daemon.state, "--", "/bin/sleep", "1000"]
            let program = try Program(command)
            programs.with { $0.append(program) }
        }
        let orchestrator = try daemon.connect().status().orchestrator
        try await eventually("the listeners", within: 60) { try listeners(of: orchestrator).count == count }
        let process = try RunningProcess(orchestrator)
        return try listeners(of: orchestrator).map { try MemoryFile(taking: try process.duplicate($0)) }
    }

    /// Waits until the orchestrator has closed the copies that came with requests, which a thread of its own does.
    private func expectListeners(_ count: Int, in client: DaemonClient) async throws {
        try await eventually("\(count) listeners in the orchestrator", within: 60) {
            try listeners(of: client.status().orchestrator).count == count
        }
    }

    private func listeners(of process: pid_t) throws -> [CInt] {
        let directory = "/proc/\(process)/fd"
        return try FileManager.default.contentsOfDirectory(atPath: directory).compactMap { name in
            let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "\(directory)/\(name)")
            return target == "anon_inode:seccomp notify" ? CInt(name) : nil
        }
    }
}

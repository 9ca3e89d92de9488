// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// An unused luod has the same descriptors, processes, maps and bytes of the arena after many updates.
@Suite struct DaemonLeakTests {
    /// The resources that could leak.
    private struct Held: Equatable {
        var processes: Int
        var keeper: [String]
        var orchestrator: [String]
        var mappedFiles: [String]
        var arena: UInt64

        init(_ daemon: RunningDaemon, _ client: DaemonClient) throws {
            let status = try client.status()
            processes = daemon.processes.count
            keeper = try Self.descriptors(of: status.keeper)
            orchestrator = try Self.descriptors(of: status.orchestrator)
            mappedFiles = try [status.keeper, status.orchestrator].flatMap(Self.mappedMemoryFiles)
            arena = status.arenaUsed
        }

        var socketsOfKeeper: Int { keeper.count { $0.hasPrefix("socket:") } }
        var socketsOfOrchestrator: Int { orchestrator.count { $0.hasPrefix("socket:") } }

        /// The target of each of a process's descriptors, without numbers.
        private static func descriptors(of process: pid_t) throws -> [String] {
            try FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/fd").compactMap { number in
                let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(process)/fd/\(number)")
                return target?.replacing(/\[\d+\]/, with: "")
            }.sorted()
        }

        private static func mappedMemoryFiles(of process: pid_t) throws -> [String] {
            try String(contentsOfFile: "/proc/\(process)/maps", encoding: .utf8).split(separator: "\n")
                .filter { $0.contains("memfd:") }.map(String.init)
        }
    }

    @Test("50 updates with clients that come and go leave nothing behind") func updates() async throws {
        let daemon = try await RunningDaemon()
        let client = try daemon.connect()
        try round(daemon, client, 0)
        try round(daemon, client, 1)
        let before = try await settled(daemon, client)
        for number in 2..<52 { try round(daemon, client, number) }
        let after = try await settled(daemon, client)
        #expect(after == before)
        #expect(after.processes == 2 && after.mappedFiles.isEmpty)
        #expect(!(after.keeper + after.orchestrator).contains { $0.contains("leak-test") })
        #expect(try client.status().updates == 52)
    }

    /// Waits until two readings are equal, because the keeper learns of released descriptors a moment later.
    private func settled(_ daemon: RunningDaemon, _ client: DaemonClient) async throws -> Held {
        var last = try Held(daemon, client)
        try await eventually("an end of changes", within: 60) {
            let now = try Held(daemon, client)
            defer { last = now }
            return now == last && now.socketsOfKeeper <= now.socketsOfOrchestrator
        }
        return last
    }

    private func round(_ daemon: RunningDaemon, _ client: DaemonClient, _ number: Int) throws {
        let visitor = try daemon.connect()
        let files = try (0..<3).map { try MemoryFile("leak-test", bytes: nativeBytes($0)) }
        let (kept, left, detached) = (
            try visitor.create("kept"), try visitor.create("left"), try visitor.create("detached")
        )
        try kept.preserve(files[0], 1)
        try left.preserve(files[1], 1)
        if number % 2 == 0 { #expect(try client.change(.load) == nil) }
        try detached.preserve(files[2], 1)
        try detached.setDetached(true)
        detached.close()
        left.close()
        if number % 3 == 0 { #expect(try client.change(.update, image: "/bin/false") != nil) }
        if number % 5 == 0 { #expect(try client.change(.reload) == nil) }
        #expect(try client.change(.update) == nil)
        let came = try client.retrieveSession("kept")
        #expect(try came.retrieve(1).identity == files[0].identity)
        if number % 2 == 0 { try came.finish() }
        came.close()
        let attached = try client.attach("detached")
        if number % 2 == 1 { #expect(try attached.retrieve(1).identity == files[2].identity) }
        try attached.finish()
        try attached.setDetached(false)
        attached.close()
    }
}

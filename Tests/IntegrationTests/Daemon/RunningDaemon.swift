// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// A daemon with its own state. It ends with the test and leaves nothing.
final class RunningDaemon: Sendable {
    let state: String
    private let program: Guarded<Program?> = Guarded(nil)
    private let arguments: [String]
    private let environment: [String]

    init(
        _ arguments: [String] = [], image: String = Program.path("luod"), environment: [String] = []
    ) async throws {
        self.environment = environment
        state = FileManager.default.temporaryDirectory.appendingPathComponent("luod-\(UUID().uuidString)").path
        // The long patience is for a machine that is busy with other tests. `arguments` can override it, because the
        // last option counts.
        self.arguments = [image, "--state", state, "--patience", "60000"] + arguments
        try await start()
    }

    /// Starts a keeper: the first one, or one that replaces a dead one.
    func start() async throws {
        try await run(try Program(arguments, environment: environment))
    }

    /// Starts a keeper with named descriptors, as a service manager does.
    func start(passing passed: [(name: String, descriptor: FileDescriptor)]) async throws {
        // The copies have higher numbers than the ones that the program gets.
        let copies = try passed.map { try $0.descriptor.duplicated(from: 3 + CInt(passed.count)).release() }
        defer { for copy in copies { try? copy.close() } }
        let variables = [
            "LISTEN_FDS=\(passed.count)", "LISTEN_FDNAMES=\(passed.map(\.name).joined(separator: ":"))",
        ]
        let shell = ["/bin/sh", "-c", "LISTEN_PID=$$ exec \"$@\"", "sh"]
        try await run(
            try Program(
                shell + arguments, environment: environment + variables, inheriting: copies.first,
                Array(copies.dropFirst())))
    }

    private func run(_ started: Program) async throws {
        program.with { $0 = started }
        try await eventually("a daemon that is ready", within: 60) {
            try started.outputSoFar.contains("ready") || started.hasEnded
        }
        if started.hasEnded { Issue.record("luod ended: \(try await started.ended())") }
    }

    /// Starts another luod that must not become the keeper.
    func startAnother() async throws -> Ended { try await Program(arguments).ended() }

    deinit {
        killEverything()
        try? FileManager.default.removeItem(atPath: state)
    }

    func connect() throws -> DaemonClient { try DaemonClient(connectingTo: "\(state)/liveupdate") }

    /// Connects as another user, which `--socket-mode` must allow.
    func connect(as user: uid_t) throws -> DaemonClient { try asUser(user) { try connect() } }

    /// The processes of this luod. No other process has the path of the state among its arguments.
    var processes: [pid_t] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return names.compactMap { pid_t($0) }.filter { process in
            let line = try? String(contentsOfFile: "/proc/\(process)/cmdline", encoding: .utf8)
            return line?.split(separator: "\0").contains(Substring(state)) == true
        }
    }

    /// Loads an image, and returns the process that waits to take over.
    func loadedStandby(_ client: DaemonClient) throws -> pid_t {
        #expect(try client.change(.load) == nil)
        let running = try client.status()
        return try #require(processes.first { ![running.keeper, running.orchestrator].contains($0) })
    }

    /// Ends luod as a service manager does.
    func end() async throws -> Ended {
        let luod = try #require(program.with { $0 })
        Glibc.kill(luod.process, SIGTERM)
        return try await luod.ended()
    }

    /// Whether the keeper that was started last has ended.
    var hasEnded: Bool { program.with { $0?.hasEnded } ?? true }

    var keeper: pid_t { program.with { $0 }?.process ?? -1 }

    /// The log so far.
    func log() throws -> String { try program.with { try $0?.errorsSoFar } ?? "" }

    /// The path of an image that reads its messages until the link ends, and sends none.
    func silentImage() async throws -> String {
        let path = "\(state)/silent"
        // Another process writes the file: see ``install(_:into:)``.
        _ = try await IntegrationTests.run(
            ["/bin/sh", "-c", "cat >\"$0\" && chmod 755 \"$0\"", path], input: "#!/bin/sh\nexec cat <&3 >/dev/null\n")
        return path
    }

    func killKeeper() { program.with { $0 }?.kill() }

    /// Kills both processes at once, which has the same effect on memory files as a power failure.
    func killEverything() {
        // The keeper is killed first, because it would start another orchestrator.
        killKeeper()
        for _ in 0..<10 {
            let left = processes
            for process in left { Glibc.kill(process, SIGKILL) }
            if left.isEmpty { break }
            usleep(1_000)
        }
    }

    /// Whether an orchestrator is in a blackout, when it waits only for its keeper.
    func waitsForKeeper(_ orchestrator: pid_t) throws -> Bool {
        #if arch(x86_64)
            let polling = "7 "
        #else
            let polling = "73 "
        #endif
        return try String(contentsOfFile: "/proc/\(orchestrator)/syscall", encoding: .utf8).hasPrefix(polling)
    }

    /// The processor time of a process in hundredths of a second: proc_pid_stat(5).
    static func processorTime(of process: pid_t) throws -> Int {
        let line = try String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8)
        let fields = line.split(separator: ")").last?.split(separator: " ") ?? []
        return try #require(Int(fields[11])) + #require(Int(fields[12]))
    }

    static func descriptors(of process: pid_t) -> Int {
        (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/fd").count) ?? -1
    }
}

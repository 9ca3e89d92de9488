// SPDX-License-Identifier: Apache-2.0
import Foundation
import LiveUpdatePlatform
import SystemPackage
import TestSupport

/// A process that runs an arena until the test is over.
final class ArenaHolder: Sendable {
    let process: Program
    /// The arena, opened for reading. It stays after the death of the process.
    let arena: OwnedDescriptor
    private let path: String

    /// Starts the probe's "hold" with these arguments.
    init(_ arguments: String...) async throws {
        let process = try Program([Program.path("UpdateProbe"), "hold"] + arguments)
        try await eventually("a process that holds files", within: 60) { try process.outputSoFar.contains("held") }
        let directory = "/proc/\(process.process)/fd"
        let files = try FileManager.default.contentsOfDirectory(atPath: directory).map { "\(directory)/\($0)" }
        path =
            try files.first { path in
                try FileManager.default.destinationOfSymbolicLink(atPath: path).hasPrefix("/memfd:luo-arena")
            } ?? ""
        arena = try openFile(path)
        self.process = process
    }

    /// Inspects the arena of the process.
    func inspect(_ arguments: String...) async throws -> Ended {
        try await run([Program.path("luoctl"), "inspect", path] + arguments)
    }
}

/// A path for a file, which is removed when the test is over.
final class TemporaryFile: Sendable {
    let path: String

    init(_ bytes: [UInt8]) throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("inspect-\(UUID().uuidString)").path
        try Data(bytes).write(to: URL(fileURLWithPath: path))
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

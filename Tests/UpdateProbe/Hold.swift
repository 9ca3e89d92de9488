// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdate
import LiveUpdateCore
import LiveUpdateHandlers
import LiveUpdatePlatform
import SystemPackage

/// Preserves files and runs until it is killed, so that a test can inspect its arena.
enum Hold {
    /// Runs with a file and, unless `hugePages` is 0, with a second file of that many huge pages of 2 MiB.
    static func run(hugePages: Int, isBusy: Bool) throws -> Never {
        let process = try UpdatableProcess { (orchestrator) throws(LiveUpdateError) in
            try orchestrator.registerStandardHandlers()
        }
        let session = try process.orchestrator.createSession("held")
        try session.preserve(try makeFile(1), token: 1)
        if hugePages > 0 {
            let size = UInt64(hugePages) * PageSize.huge2M.bytes
            let file = try makeMemoryFile(named: "probe-huge", size: size, pageSize: .huge2M)
            try file.borrowed.allocate(offset: 0, length: size)
            try session.preserve(file.borrowed, token: 2)
        }
        say(["held": "\(1 + min(hugePages, 1))"])
        while true {
            if isBusy { try comeAndGo(process.orchestrator) } else { pause() }
        }
    }

    /// Makes two commits. The second one frees the records of the first.
    private static func comeAndGo(_ orchestrator: Orchestrator) throws {
        let file = try makeFile(2)
        let session = try orchestrator.createSession("coming and going")
        try session.preserve(file, token: 1)
        try session.close()
        try closeDescriptor(file)
    }
}

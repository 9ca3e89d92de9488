// SPDX-License-Identifier: Apache-2.0
import LiveUpdate
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// Holds files over several updates. Each boot counts its descriptors when it begins, and when the incoming files are
/// finished.
enum Keep {
    static func run(files count: Int, updates: UInt64) throws {
        let process = try begin()
        let update = try process.orchestrator.status().updateNumber
        let files = update == 0 ? try (0..<UInt64(count)).map(makeFile) : try comeBack(process, count, update)
        if update < updates { try goOn(process, files) }
    }

    /// Takes the files of the boot before, and reports what came.
    static func comeBack(_ process: UpdatableProcess, _ count: Int, _ update: UInt64) throws -> [FileDescriptor] {
        var line = try Descriptors().described("begin")
        let session = try process.orchestrator.retrieveSession("s")
        let tokens = session.tokens
        let files = try tokens.map { try session.retrieve(token: $0).release() }
        let intact = try zip(tokens, files).filter { try holds($1, $0) }.count
        try session.finish()
        try session.close()
        line.merge(try Descriptors().described("end")) { $1 }
        let status = try process.orchestrator.status()
        line.merge([
            "update": "\(update)", "intact": "\(intact)", "arena_size": "\(status.arenaSize)",
            "arena_used": "\(status.arenaUsed)",
        ]) { $1 }
        say(line)
        return files
    }

    private static func goOn(_ process: UpdatableProcess, _ files: [FileDescriptor]) throws {
        _ = try preserve(process, files)
        try process.reboot(into: ownImage(), unchecked: true)
    }

    /// Preserves the files, and closes them.
    static func preserve(_ process: UpdatableProcess, _ files: [FileDescriptor]) throws -> Session {
        let session = try process.orchestrator.createSession("s")
        for (token, file) in files.enumerated() {
            try session.preserve(file, token: UInt64(token))
            try closeDescriptor(file)
        }
        return session
    }
}

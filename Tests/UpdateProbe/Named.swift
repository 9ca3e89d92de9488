// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdate
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// Tests an arena with a name.
enum Named {
    static func run(_ action: String, _ path: FilePath) throws {
        let isAfterUpdate = environmentVariable(UpdatableProcess.variable) != nil
        let probe = KillProbe(isAfterUpdate: isAfterUpdate)
        let process = try begin(arena: Arena.Options(probe: probe), at: path)
        let status = try process.orchestrator.status()
        say([
            "update": "\(status.updateNumber)",
            "sessions": status.sessions.map(\.name.description).joined(separator: ","),
            "open": try process.orchestrator.openSessions.map(\.name.description).joined(separator: ","),
            "arena": try Descriptors().others.joined(separator: ","),
        ])
        switch action {
        case "begin": break
        case "hold": while true { pause() }
        case "update":
            if !isAfterUpdate { try process.reboot(into: ownImage(), unchecked: true) }
            while true { pause() }
        case "leave":
            // This session with memory files is never closed.
            let session = try process.orchestrator.createSession("left")
            for token in [1, 2] as [UInt64] { try session.preserve(try makeFile(token), token: token) }
            die()
        case "fill": try fill(process)
        default: throw LiveUpdateError(.invalidArgument, "named \(action)")
        }
    }

    /// Preserves until there is no more room, unpreserves one file, and updates with the others.
    private static func fill(_ process: UpdatableProcess) throws {
        if try process.orchestrator.status().updateNumber > 0 {
            let session = try process.orchestrator.retrieveSession("s")
            let intact = try session.tokens.filter { try holds(try session.retrieve(token: $0), $0) }
            return say(["came": "\(intact.count)", "of": "\(session.tokens.count)"])
        }
        let session = try process.orchestrator.createSession("s")
        var token: UInt64 = 0
        while true {
            do throws(LiveUpdateError) {
                try session.preserve(try file(token), token: token)
            } catch {
                say(["full": "\(token)", "errno": "\(error.errno.rawValue)", "remedy": error.remedy ?? ""])
                break
            }
            token += 1
        }
        // There is reserved room to unpreserve a file, and to hand over the others.
        try session.unpreserve(token: 0)
        try process.reboot(into: ownImage(), unchecked: true)
    }

    private static func file(_ number: UInt64) throws(LiveUpdateError) -> FileDescriptor {
        do { return try makeFile(number) } catch { throw LiveUpdateError(.tooManyOpenFiles, "\(error)") }
    }
}

/// An image with a failed begin can begin again, because the arena's descriptor and its variable are unchanged.
enum BeginTwice {
    static func run() throws {
        if environmentVariable(UpdatableProcess.variable) == nil {
            let process = try begin()
            try process.orchestrator.createSession("s").preserve(try makeFile(1), token: 1)
            try process.reboot(into: ownImage(), unchecked: true)
        }
        let variable = environmentVariable(UpdatableProcess.variable)
        do throws(LiveUpdateError) {
            _ = try begin(handlers: false)
        } catch {
            say(["failed": error.description, "same": "\(environmentVariable(UpdatableProcess.variable) == variable)"])
        }
        let process = try begin()
        let session = try process.orchestrator.retrieveSession("s")
        let intact = try holds(try session.retrieve(token: 1), 1)
        say(["intact": "\(intact)", "variable": environmentVariable(UpdatableProcess.variable) ?? "none"])
    }
}

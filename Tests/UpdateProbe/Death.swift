// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdate
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// Tests the death of every process. The session "s" of a named arena has a named file on hugetlbfs, as token 1, and a
/// memory file, as token 2.
enum Death {
    static func run(_ action: String, _ arena: FilePath) throws {
        switch action {
        case "run": try live(arena, FilePath(CommandLine.arguments[4]))
        case "find": try find(arena)
        default: throw LiveUpdateError(.invalidArgument, "death \(action)")
        }
    }

    /// Updates with both files, to the end unless `--kill` ends it. `--image` selects the next image.
    private static func live(_ arena: FilePath, _ file: FilePath) throws {
        let isAfterUpdate = environmentVariable(UpdatableProcess.variable) != nil
        let process = try begin(arena: Arena.Options(probe: KillProbe(isAfterUpdate: isAfterUpdate)), at: arena)
        if isAfterUpdate {
            let session = try process.orchestrator.retrieveSession("s")
            let found = try session.tokens.map { token in
                (token, try content(token, try session.retrieve(token: token)))
            }
            try session.finish()
            try session.close()
            return say(["done": found.map { "\($0.0) \($0.1)" }.joined(separator: ",")])
        }
        let session = try process.orchestrator.createSession("s")
        try session.preserve(try makeNamed(file), token: 1)
        try session.preserve(try makeFile(2), token: 2)
        try process.reboot(into: image, unchecked: true)
    }

    private static var image: ProgramImage {
        guard let at = CommandLine.arguments.firstIndex(of: "--image") else { return ownImage() }
        return ProgramImage(path: "/bin/sh", arguments: ["sh", "-c", CommandLine.arguments[at + 1]])
    }

    /// Makes a file with two of three huge pages, and an offset after the first.
    private static func makeNamed(_ path: FilePath) throws -> FileDescriptor {
        let number = unsafe path.withPlatformString { unsafe open($0, O_RDWR | O_CREAT | O_CLOEXEC, 0o600) }
        guard number >= 0 else { throw SystemCallError("open", Errno(rawValue: errno)) }
        let file = FileDescriptor(rawValue: number)
        try file.setSize(3 << 21)
        let mapping = try Mapping(of: file, length: 3 << 21, .shared(writable: true))
        for page in [0, 2] {
            unsafe mapping.bytes.storeBytes(of: word(UInt64(page)), toByteOffset: page << 21, as: UInt64.self)
        }
        try file.setPosition(1 << 21)
        return file
    }

    private static func content(_ token: UInt64, _ owned: consuming OwnedDescriptor) throws -> String {
        let file = owned.borrowed
        if token == 2 { return try holds(file, 2) ? "intact" : "damaged" }
        let mapping = try Mapping(of: file, length: 3 << 21, .shared(writable: false))
        let words = [0, 2].map { unsafe mapping.bytes.load(fromByteOffset: $0 << 21, as: UInt64.self) }
        return try words == [word(0), word(2)] && file.position() == 1 << 21 ? "intact" : "damaged"
    }

    /// Opens the arena again, and reports the fate of the files. Then none of them is in it.
    private static func find(_ arena: FilePath) throws {
        let process = try begin(at: arena)
        let orchestrator = process.orchestrator
        let status = try orchestrator.status()
        var found = ["update": "\(status.updateNumber)"]
        for session in status.sessions where !session.isOpen { _ = try orchestrator.retrieveSession(session.name) }
        for session in try orchestrator.openSessions {
            found["direction"] = "\(session.direction)"
            for token in session.tokens {
                found["\(token)"] = try answer(token) { () throws(LiveUpdateError) in
                    try session.direction == .outgoing ? session.get(token: token) : session.retrieve(token: token)
                }
            }
            try session.close()
        }
        found["left"] =
            "\(try orchestrator.status().sessions.count) \(try orchestrator.status().flbs.filter { $0.count > 0 }.count)"
        say(found)
    }

    private static func answer(
        _ token: UInt64, _ fetch: () throws(LiveUpdateError) -> OwnedDescriptor
    ) throws -> String {
        let file: OwnedDescriptor
        do throws(LiveUpdateError) {
            file = try fetch()
        } catch {
            return "\(error.errno.rawValue) \(error.reason)"
        }
        return try content(token, file)
    }
}

// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandlers
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateCore

/// A boot with the handlers of this package.
struct StandardBoot {
    let orchestrator: Orchestrator
    let hugeTLB: HugeTLB

    /// The line of a file in the status.
    func file(_ token: UInt64) throws -> Status.File {
        try #require(try orchestrator.status().sessions.flatMap(\.files).first { $0.token == token })
    }
}

/// A file that has travelled through an update.
struct Carried {
    let boot: StandardBoot
    let session: Session
    let file: TestFile
}

extension Machine {
    func standardBoot(_ opening: Orchestrator.Opening = .nextBoot, mendingPools: Bool = false) throws -> StandardBoot {
        let orchestrator = try boot(opening)
        let hugeTLB = try orchestrator.registerStandardHandlers(mendingPools: mendingPools)
        try orchestrator.open()
        return StandardBoot(orchestrator: orchestrator, hugeTLB: hugeTLB)
    }

    /// The storage of callbacks, on the present arena.
    func storage() throws -> Storage { Storage(try openArena()) }

    /// Preserves a file as token 1 of the session "s" in the first boot, calls `change`, makes an update, and retrieves
    /// the file in the next boot.
    func carry(
        _ file: TestFile, _ change: (StandardBoot) throws -> Void = { _ in }
    ) throws -> Carried {
        let first = try standardBoot()
        try first.orchestrator.createSession("s").preserve(file.descriptor, token: 1)
        try change(first)
        try first.orchestrator.publish()
        return try retrieved()
    }

    /// Retrieves the first file of "s" in the next boot.
    func retrieved() throws -> Carried {
        let next = try standardBoot()
        let session = try next.orchestrator.retrieveSession("s")
        return Carried(boot: next, session: session, file: TestFile(try session.retrieve(token: 1)))
    }

    /// Reads bytes of the arena from an offset on.
    func bytes(at offset: UInt64, count: Int) throws -> [UInt8] {
        [UInt8](try file.bytes()[Int(offset)..<Int(offset) + count])
    }
}

import Handover
import LiveUpdateHandlers
import Platform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdate

/// A boot with the handlers of this package.
struct StandardBoot {
    let orchestrator: Orchestrator
    let hugeTLB: HugeTLB

    /// A file's line of the status.
    func file(_ token: UInt64) throws -> Status.File {
        try #require(try orchestrator.status().sessions.flatMap(\.files).first { $0.token == token })
    }
}

/// A file that crossed an update.
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

    /// What callbacks see of the arena, as it is now.
    func storage() throws -> Storage { Storage(try openArena()) }

    /// The first boot preserves a file, as token 1 of the session "s"; then `change` may do something; then an update;
    /// and the next boot retrieves it.
    func carry(
        _ file: TestFile, _ change: (StandardBoot) throws -> Void = { _ in }
    ) throws -> Carried {
        let first = try standardBoot()
        try first.orchestrator.createSession("s").preserve(file.descriptor, token: 1)
        try change(first)
        try first.orchestrator.publish()
        return try retrieved()
    }

    /// What the first file of "s" is in the next boot.
    func retrieved() throws -> Carried {
        let next = try standardBoot()
        let session = try next.orchestrator.retrieveSession("s")
        return Carried(boot: next, session: session, file: TestFile(taking: try session.retrieve(token: 1)))
    }

    /// The bytes of the arena from an offset on.
    func bytes(at offset: UInt64, count: Int) throws -> [UInt8] {
        [UInt8](try file.bytes()[Int(offset)..<Int(offset) + count])
    }
}

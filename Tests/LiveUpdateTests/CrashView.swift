// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport

/// A view of an opened arena. It must be as before or as after a request.
struct CrashView: Equatable {
    struct File: Equatable {
        var token: UInt64
        var name: String
        var retrieved: RetrieveStatus
        /// The reason why the file was left out.
        var problem: String?
        /// The records of its handler, which must still exist.
        var records: [UInt8]
        /// Whether its descriptor is still held.
        var isKept: Bool
    }

    struct Session: Equatable {
        var name: SessionName
        var direction: Direction
        var isOpen: Bool
        var isFinished: Bool
        var files: [File]
    }

    struct FLB: Equatable {
        var direction: Direction
        var count: UInt64
        var retrieved: RetrieveStatus
    }

    var updateNumber: UInt64
    var sessions: [Session]
    var flbs: [FLB]

    /// Opens and reads a copy of a world's arena. Then makes requests in it, which must work in every state.
    init(_ world: CrashWorld, _ opening: Orchestrator.Opening) throws {
        let machine = try Machine(copyOf: world.machine)
        let boot = try machine.boot(opening) { try CrashWorld.register($0, ranges: 1) }
        let status = try boot.status()
        let arena = try machine.openArena()
        updateNumber = status.updateNumber
        flbs = status.flbs.map { FLB(direction: $0.direction, count: $0.count, retrieved: $0.retrieveStatus) }
        sessions = try status.sessions.map { session in
            Session(
                name: session.name, direction: session.direction, isOpen: session.isOpen,
                isFinished: session.isFinished,
                files: try session.files.map { file in
                    File(
                        token: file.token, name: world.name(file.identity), retrieved: file.retrieveStatus,
                        problem: file.problem, records: try arena.read(at: file.data, count: 8),
                        isKept: try Self.isKept(file, world.machine.descriptors))
                })
        }
        try Self.goOn(boot)
    }

    private static func isKept(_ file: Status.File, _ descriptors: KeptDescriptors) throws -> Bool {
        guard let kept = descriptors.descriptor(in: file.slot) else { return false }
        return try FileStatus(of: kept).identity == file.identity
    }

    /// Checks that new records do not overwrite existing ones, and that existing ones do not prevent new requests.
    private static func goOn(_ boot: Orchestrator) throws {
        let file = try MemoryFile("afterwards")
        let session = try boot.createSession("afterwards")
        try session.preserve(file.descriptor, token: 1)
        try session.close()
        try boot.publish(discardingUnfinished: true, leavingOut: true)
        try boot.thaw()
    }

    /// The views of both openings: the same boot, which goes on, and the next boot.
    struct Pair: Equatable {
        let sameBoot: CrashView
        let nextBoot: CrashView

        init(_ world: CrashWorld) throws {
            sameBoot = try CrashView(world, .sameBoot)
            nextBoot = try CrashView(world, .nextBoot)
        }
    }
}

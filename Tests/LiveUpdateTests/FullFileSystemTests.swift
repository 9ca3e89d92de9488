// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// An arena in a file of a full tmpfs. Requests get ENOSPC, nothing is lost, and they work again when there is room.
@Suite(.requiresRoot) struct FullFileSystemTests {
    private let fileSystem: SmallFileSystem
    private let machine: Machine
    private let handler = TestHandler { hooks in
        hooks.preserve = { file throws(LiveUpdateError) in try file.storage.store([UInt8](repeating: 7, count: 4096)) }
    }
    private let flb = TestFLB()
    private let boot: Orchestrator
    private let session: Session

    init() throws {
        fileSystem = try SmallFileSystem(size: 512 << 10)
        machine = try Machine(
            Arena.Options(initialSize: 4096, limit: 64 << 20), on: MemoryFile(taking: try fileSystem.makeFile()))
        boot = try machine.boot(.nextBoot, handler, flb)
        session = try boot.createSession("s")
    }

    private func expectFull(_ error: LiveUpdateError?) {
        #expect(error?.errno == .noSpace)
        #expect(error?.remedy?.contains("give its file system more room") == true)
    }

    /// Preserves files until there is no more room.
    private func fill() throws -> [UInt64: FileIdentity] {
        var files: [UInt64: FileIdentity] = [:]
        for token in UInt64(0)..<1000 {
            let file = try MemoryFile(size: 0)
            let used = try boot.status().arenaUsed
            guard let error = failure({ try session.preserve(file.descriptor, token: token) }) else {
                files[token] = file.identity
                continue
            }
            expectFull(error)
            #expect(try boot.status().arenaUsed == used)
            break
        }
        #expect(files.count > 20 && Set(session.tokens) == Set(files.keys))
        #expect(machine.descriptors.held.count == files.count)
        return files
    }

    private func expectAllComesBack(_ files: [UInt64: FileIdentity]) throws {
        let next = try machine.boot(.nextBoot, handler, flb)
        let came = try next.retrieveSession("s")
        #expect(Set(came.tokens) == Set(files.keys))
        for (token, identity) in files {
            let file = try came.retrieve(token: token)
            #expect(try FileStatus(of: file.borrowed).identity == identity)
        }
        try came.close()
        #expect(machine.descriptors.held.isEmpty)
        #expect(flb.count("finish") == 1)
    }

    @Test func preserve() throws {
        let ballast = try fileSystem.fill(leaving: 256 << 10)
        var files = try fill()
        try ballast.drop()
        let file = try MemoryFile(size: 0)
        try session.preserve(file.descriptor, token: 5000)
        files[5000] = file.identity
        try boot.publish()
        try expectAllComesBack(files)
    }

    @Test("Publishing and the next boot need no more room than they have, and all sessions can be closed")
    func update() throws {
        let first = try fileSystem.fill(leaving: 256 << 10)
        let files = try fill()
        // Sessions cannot use the room that is reserved for the update.
        let error = (0..<1000).lazy.compactMap { number in failure { try boot.createSession("\(number)") } }.first
        expectFull(error)
        let second = try fileSystem.fill()
        try boot.publish()
        try boot.thaw()
        #expect(handler.count("freeze") == handler.count("unfreeze"))
        try boot.publish()
        try expectAllComesBack(files)
        withExtendedLifetime((first, second)) {}
    }

    @Test("An FLB that needs more than the free room gets ENOSPC, and the freeze is undone until there is room")
    func publishOverTheLimit() throws {
        let ballast = try fileSystem.fill(leaving: 256 << 10)
        let files = try fill()
        flb.change { hooks in
            hooks.serialize = { context throws(LiveUpdateError) in
                try context.storage.store([UInt8](repeating: 7, count: 160 << 10))
            }
        }
        expectFull(failure { try boot.publish() })
        #expect(handler.count("freeze") == handler.count("unfreeze"))
        #expect(session.tokens.count == files.count)
        try ballast.drop()
        try boot.publish()
        try expectAllComesBack(files)
    }

    @Test func crash() throws {
        let files = try fill()
        let ballast = try fileSystem.fill()
        let again = try machine.boot(.sameBoot, handler, flb)
        #expect(try again.openSessions.map(\.tokens.count) == [files.count])
        try again.openSessions.first?.close()
        #expect(machine.descriptors.held.isEmpty)
        withExtendedLifetime(ballast) {}
    }

    @Test func anArenaCannotBeMade() throws {
        let ballast = try fileSystem.fill()
        let error = failure {
            try Machine(Arena.Options(initialSize: 64 << 10), on: MemoryFile(taking: try fileSystem.makeFile()))
        }
        expectFull(error)
        withExtendedLifetime(ballast) {}
    }
}

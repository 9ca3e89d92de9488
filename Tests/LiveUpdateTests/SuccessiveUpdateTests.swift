// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@Suite struct SuccessiveUpdateTests {
    private let handler = TestHandler { hooks in
        hooks.preserve = { file throws(LiveUpdateError) in
            try file.storage.store([UInt8](repeating: 1, count: 3000))
        }
    }
    private let flb = TestFLB { hooks in
        hooks.preserve = { context throws(LiveUpdateError) in
            try context.storage.store([UInt8](repeating: 2, count: 500))
        }
        hooks.serialize = { context throws(LiveUpdateError) in
            #expect(context.users.count == 4)
            return try context.storage.store([UInt8](repeating: 3, count: 500))
        }
    }

    @Test("Fifty updates with files that come and go: the number counts, and no space of the arena is lost")
    func fiftyUpdates() throws {
        let machine = try Machine()
        let files = try (0..<4).map { _ in try MemoryFile() }
        var used: [UInt64] = []
        for number in UInt64(0)..<50 {
            let boot = try machine.boot(.nextBoot, handler, flb)
            #expect(try boot.status().updateNumber == number)
            if number > 0 {
                let session = try boot.retrieveSession("s")
                for token in session.tokens { _ = try session.retrieve(token: token) }
                try session.close()
            }
            used.append(try boot.status().arenaUsed)
            #expect(machine.descriptors.held.isEmpty, "nothing is kept that was finished")
            let session = try boot.createSession("s")
            for (token, file) in files.enumerated() { try session.preserve(file.descriptor, token: UInt64(token)) }
            try boot.publish()
        }
        #expect(Set(used.dropFirst(3)).count == 1, "\(used)")
        #expect(flb.count("preserve") == 50 && flb.count("retrieve") == 49 && flb.count("finish") == 49)
    }

    @Test("A file that is preserved again and again without an update")
    func withoutAnUpdate() throws {
        let machine = try Machine()
        let boot = try machine.boot(.nextBoot, handler, flb)
        /// The journal's length is subtracted, because it depends on the state at the time of writing.
        func used() throws -> UInt64 { try boot.status().arenaUsed - (machine.openArena().journal?.length ?? 0) }
        let before = try used()
        let file = try MemoryFile()
        for round in 0..<Scale.count(400) {
            let session = try boot.createSession("s\(round)")
            try session.preserve(file.descriptor, token: 1)
            try session.close()
        }
        #expect(try used() == before)
        #expect(try boot.status().flbs.isEmpty)
    }

    @Test("A core without references is gone with its descriptor and its mapping, although sessions are open")
    func droppedCores() throws {
        let machine = try Machine()
        weak var arena: Arena?
        do {
            let opened = try machine.openArena()
            arena = opened
            let boot = Orchestrator(arena: opened, descriptors: machine.descriptors)
            _ = try boot.createSession("left open")
        }
        #expect(arena == nil)
    }
}

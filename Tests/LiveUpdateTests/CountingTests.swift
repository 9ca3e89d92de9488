// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import SystemPackage
import TestSupport
import Testing

/// Rule 17: a finished file is counted down on the FLBs on which it was counted at its preserve, even if this image
/// links its handler to other FLBs.
@Suite struct CountingTests {
    private let machine: Machine
    private let old = TestFLB("old-v1")
    private let new = TestFLB("new-v1")

    init() throws {
        machine = try Machine()
        let boot = try machine.boot(.nextBoot, TestHandler(), old)
        for name: SessionName in ["s", "t"] {
            let file = try MemoryFile()
            try boot.createSession(name).preserve(file.descriptor, token: 1)
        }
        try boot.publish()
    }

    private func next() throws -> Orchestrator {
        try machine.boot(.nextBoot) { orchestrator in
            let (handler, other) = (TestHandler(), TestHandler("other-v1"))
            try orchestrator.register(handler)
            try orchestrator.register(new, on: handler)
            // The FLB is registered, but the handler of the files is no longer linked to it.
            try orchestrator.register(other)
            try orchestrator.register(old, on: other)
        }
    }

    @Test func asPreserved() throws {
        let boot = try next()
        try boot.retrieveSession("s").finish()
        #expect(try boot.status().flbs.map(\.count) == [1])
        #expect(old.count("finish") == 0)
        try boot.retrieveSession("t").close()
        #expect(old.count("finish") == 1, "with the last file, whatever its session")
        #expect(new.calls == [])
    }

    @Test("The count stays after a crash")
    func afterACrash() throws {
        try next().retrieveSession("s").finish()
        let again = try machine.boot(.sameBoot) { orchestrator in
            let handler = TestHandler()
            try orchestrator.register(handler)
            try orchestrator.register(old, on: handler)
        }
        #expect(try again.status().flbs.map(\.count) == [1])
        try again.retrieveSession("t").finish()
        #expect(old.count("finish") == 1)
        #expect(errno { try again.withIncoming(old) { _ in } } == .noData)
    }
}

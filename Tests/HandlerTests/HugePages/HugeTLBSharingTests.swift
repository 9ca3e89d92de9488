// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandlers
import LiveUpdatePlatform
import TestSupport
import Testing

/// The FLB is preserved once and finished once, however many files depend on it.
@Suite struct HugeTLBSharingTests {
    /// The FLB, with a record of its callbacks.
    private final class Watched: FileLifecycleBound {
        private let base = HugeTLB()
        private let log = Guarded<[String]>([])

        var compatible: String { base.compatible }
        var calls: [String] { log.with { $0 } }

        private func note(_ callback: String) { log.with { $0.append(callback) } }

        func preserve(_ context: FLBContext) throws(LiveUpdateError) -> (data: UInt64, object: HugeTLBState) {
            note("preserve")
            return try base.preserve(context)
        }

        func unpreserve(_ object: HugeTLBState, _ context: FLBContext) { note("unpreserve") }

        func retrieve(_ context: FLBContext) throws(LiveUpdateError) -> HugeTLBState {
            note("retrieve")
            return try base.retrieve(context)
        }

        func finish(_ object: HugeTLBState, _ context: FLBContext) { note("finish") }

        func resume(_ context: FLBContext) throws(LiveUpdateError) -> HugeTLBState { try base.resume(context) }

        func serialize(_ object: HugeTLBState, _ context: FLBContext) throws(LiveUpdateError) -> UInt64 {
            note("serialize \(context.users.count)")
            return try base.serialize(object, context)
        }
    }

    private func boot(_ machine: Machine, _ flb: Watched) throws -> Orchestrator {
        try machine.boot { orchestrator in
            let handler = HugeMemfdHandler()
            try orchestrator.register(MemfdHandler())
            try orchestrator.register(handler)
            try orchestrator.register(flb, on: handler)
        }
    }

    @Test(.requiresHugePages(2)) func oncePerUpdate() throws {
        let machine = try Machine()
        let files = try (0..<6).map { _ in try TestFile(size: 1 << 21, pageSize: .huge2M) }
        let first = Watched()
        let orchestrator = try boot(machine, first)
        let sessions = [try orchestrator.createSession("a"), try orchestrator.createSession("b")]
        for (index, file) in files.enumerated() {
            try sessions[index % 2].preserve(file.descriptor, token: UInt64(index))
        }
        let ordinary = try TestFile(size: 1)
        try sessions[0].preserve(ordinary.descriptor, token: 99)
        #expect(first.calls == ["preserve"])
        try orchestrator.publish()
        #expect(first.calls == ["preserve", "serialize 6"])

        let second = Watched()
        let next = try boot(machine, second)
        let came = [try next.retrieveSession("a"), try next.retrieveSession("b")]
        for token in [4, 0, 2] as [UInt64] { _ = TestFile(try came[0].retrieve(token: token)) }
        try came[0].finish()
        #expect(!second.calls.contains("finish"), "three files still depend on it")
        try came[1].close()
        #expect(second.calls == ["retrieve", "finish"])
    }

    @Test(.requiresHugePages(2)) func withTheLastFileItIsUnpreserved() throws {
        let machine = try Machine()
        let files = try (0..<2).map { _ in try TestFile(size: 1 << 21, pageSize: .huge2M) }
        let flb = Watched()
        let orchestrator = try boot(machine, flb)
        for (name, file) in zip(["a", "b"] as [SessionName], files) {
            try orchestrator.createSession(name).preserve(file.descriptor, token: 1)
        }
        for session in try orchestrator.openSessions {
            #expect(flb.calls == ["preserve"])
            try session.close()
        }
        #expect(flb.calls == ["preserve", "unpreserve"])
    }
}

import Handover
import LiveUpdate
import SystemPackage
import TestSupport
import Testing

/// A next boot that needs more room than was left for it, because it links FLBs to a handler that had none.
@Suite struct NextBootLimitTests {
    private let machine: Machine
    private let few = TestHandler("few-v1")
    private let many = TestHandler("many-v1")
    private let flbs = (0..<60).map { TestFLB("flb-\($0)") }
    private static let limit: UInt64 = 256 << 10

    init() throws {
        machine = try Machine(Arena.Options(initialSize: 4096, limit: Self.limit))
        few.change { hooks in hooks.accepts = { _ in false } }
        let boot = try machine.boot { orchestrator in
            try orchestrator.register(few)
            try orchestrator.register(many)
            for flb in flbs { try orchestrator.register(flb, on: few) }
        }
        let session = try boot.createSession("s")
        var token: UInt64 = 0
        // The arena is filled, but for what is left for an update.
        while failure({ try preserve(session, token) }) == nil { token += 1 }
        few.change { hooks in hooks.accepts = { _ in true } }
        try session.close()
        let again = try boot.createSession("s")
        try preserve(again, 0)
        few.change { hooks in hooks.accepts = { _ in false } }
        for number in 1..<token / 2 { try preserve(again, number) }
        try boot.publish()
    }

    private func preserve(_ session: Session, _ token: UInt64) throws {
        let file = try MemoryFile(size: 0)
        try session.preserve(file.descriptor, token: token)
    }

    private func next(limit: UInt64) throws -> Orchestrator {
        let orchestrator = try machine.boot(.nextBoot, counting: .asLinked, limit: limit) { orchestrator in
            try orchestrator.register(few)
            try orchestrator.register(many)
            for flb in flbs {
                try orchestrator.register(flb, on: few)
                try orchestrator.register(flb, on: many)
            }
        }
        try orchestrator.open()
        return orchestrator
    }

    @Test("ENOSPC, the arena is left as it was, and with more room the boot begins")
    func limit() throws {
        let before = try machine.file.bytes()
        let error = failure { try next(limit: Self.limit) }
        #expect(error?.errno == .noSpace)
        #expect(error?.remedy?.contains("raise the arena's limit") == true)
        #expect(try machine.file.bytes() == before)
        let boot = try next(limit: 16 << 20)
        #expect(try boot.retrieveSession("s").tokens.count > 50)
    }
}

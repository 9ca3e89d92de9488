import LiveUpdate
import SystemPackage
import TestSupport
import Testing

/// Lengths count bytes, not characters; the longest that fit are kept whole over an update.
@Suite struct NameTests {
    @Test(
        "Names of sessions: 1 to 63 bytes, none of them NUL",
        arguments: [
            ("", Errno.invalidArgument), ("s", nil), (String(repeating: "s", count: 63), nil),
            (String(repeating: "s", count: 64), .invalidArgument), (String(repeating: "ü", count: 31) + "s", nil),
            (String(repeating: "ü", count: 32), .invalidArgument), ("a\0b", .invalidArgument), ("\0", .invalidArgument),
            ("with space/and ../slash", nil),
        ] as [(String, Errno?)])
    func sessions(name: String, refusal: Errno?) throws {
        let machine = try Machine()
        let boot = try machine.boot()
        #expect(errno { try boot.createSession(name) } == refusal)
        guard refusal == nil else { return }
        #expect(errno { try boot.createSession(name) } == .fileExists)
        try boot.publish()
        let next = try machine.boot()
        #expect(try next.retrieveSession(name).name == name)
    }

    static let compatibles: [(String, Errno?)] = [
        ("", .invalidArgument), ("c", nil), (String(repeating: "c", count: 47), nil),
        (String(repeating: "c", count: 48), .invalidArgument), ("a\0b", .invalidArgument),
    ]

    @Test("Compatible strings of handlers: 1 to 47 bytes", arguments: compatibles)
    func handlers(compatible: String, refusal: Errno?) throws {
        let machine = try Machine()
        let boot = try machine.boot()
        #expect(errno { try boot.register(TestHandler(compatible)) } == refusal)
        guard refusal == nil else { return }
        let file = try MemoryFile()
        try boot.createSession("s").preserve(file.descriptor, token: 1)
        try boot.publish()
        let next = try machine.boot(.nextBoot, TestHandler(compatible))
        #expect(try next.status().sessions[0].files[0].compatible == compatible)
    }

    @Test("Compatible strings of FLBs: 1 to 47 bytes", arguments: compatibles)
    func flbs(compatible: String, refusal: Errno?) throws {
        let machine = try Machine()
        let handler = TestHandler()
        let boot = try machine.boot(.nextBoot, handler)
        #expect(errno { try boot.register(TestFLB(compatible), on: handler) } == refusal)
        guard refusal == nil else { return }
        let file = try MemoryFile()
        try boot.createSession("s").preserve(file.descriptor, token: 1)
        try boot.publish()
        let next = try machine.boot(.nextBoot, handler, TestFLB(compatible))
        #expect(try next.status().flbs.map(\.compatible) == [compatible])
    }

    @Test func atMost63FLBs() throws {
        let handler = TestHandler()
        let boot = try Machine().boot(.nextBoot, handler)
        for number in 1...63 { try boot.register(TestFLB("flb-\(number)"), on: handler) }
        #expect(errno { try boot.register(TestFLB("flb-64"), on: handler) } == .noSpace)
        let other = TestHandler("other")
        try boot.register(other)
        let registered = try #require(try boot.registrations()[0].flbs.first)
        try boot.register(registered, on: other)
    }

    @Test("All 63 travel, and are counted down in reverse")
    func all63Travel() throws {
        let machine = try Machine()
        let flbs = (1...63).map { TestFLB("flb-\($0)") }
        func boot() throws -> Orchestrator {
            try machine.boot { orchestrator in
                let handler = TestHandler()
                try orchestrator.register(handler)
                for flb in flbs { try orchestrator.register(flb, on: handler) }
            }
        }
        let file = try MemoryFile()
        let first = try boot()
        try first.createSession("s").preserve(file.descriptor, token: 1)
        try first.publish()
        let next = try boot()
        #expect(try next.status().flbs.map(\.count) == [UInt64](repeating: 1, count: 63))
        try next.retrieveSession("s").finish()
        #expect(flbs.allSatisfy { $0.count("finish") == 1 })
    }
}

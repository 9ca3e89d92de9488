// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import SystemPackage
import TestSupport
import Testing

/// Lengths count bytes, not characters. The longest possible strings stay whole over an update.
@Suite struct NameTests {
    @Test(
        "Names of sessions: 1 to 63 bytes, none of them NUL",
        arguments: [
            ("", Errno.invalidArgument), ("s", nil), (SessionName(String(repeating: "s", count: 63)), nil),
            (SessionName(String(repeating: "s", count: 64)), .invalidArgument),
            (SessionName(String(repeating: "ü", count: 31) + "s"), nil),
            (SessionName(String(repeating: "ü", count: 32)), .invalidArgument), ("a\0b", .invalidArgument),
            ("\0", .invalidArgument),
            ("with space/and ../slash", nil), (SessionName(bytes: [0xff]), nil),
            (SessionName(bytes: repeatElement(0xff, count: 63)), nil),
            (SessionName(bytes: repeatElement(0xff, count: 64)), .invalidArgument),
        ] as [(SessionName, Errno?)])
    func sessions(name: SessionName, refusal: Errno?) throws {
        let machine = try Machine()
        let boot = try machine.boot()
        #expect(errno { try boot.createSession(name) } == refusal)
        guard refusal == nil else { return }
        #expect(errno { try boot.createSession(name) } == .fileExists)
        try boot.publish()
        let next = try machine.boot()
        #expect(try next.retrieveSession(name).name == name)
    }

    @Test("Names are their bytes: names that look the same can be two") func equivalents() throws {
        let machine = try Machine()
        let boot = try machine.boot()
        let names: [SessionName] = ["\u{e9}", "e\u{301}", SessionName(bytes: [0xe9]), SessionName(bytes: [0xc3])]
        for name in names { _ = try boot.createSession(name) }
        try boot.publish()
        let next = try machine.boot()
        #expect(try next.status().sessions.map(\.name) == names)
        for name in names.reversed() { #expect(try next.retrieveSession(name).name == name) }
    }

    @Test(
        "A name is made again from its text",
        arguments: [
            ("", []), ("session-1", Array("session-1".utf8)), ("\u{e9}\u{1f600}", Array("\u{e9}\u{1f600}".utf8)),
            ("\\xff", [0xff]), ("a\\xc3b", [0x61, 0xc3, 0x62]), ("\\xf0\\x9f\\x98", [0xf0, 0x9f, 0x98]),
            ("\\xed\\xa0\\x80", [0xed, 0xa0, 0x80]), ("\\x5cxff", Array("\\xff".utf8)), ("\\", Array("\\".utf8)),
            ("a\\b", Array("a\\b".utf8)), ("a\\x09b\\x1b[2J", Array("a\tb\u{1b}[2J".utf8)),
            ("\\xe2\\x80\\xae", Array("\u{202e}".utf8)),
        ] as [(String, [UInt8])])
    func description(text: String, bytes: [UInt8]) {
        #expect(SessionName(bytes: bytes).description == text)
        #expect(SessionName(described: text).bytes == bytes)
    }

    @Test("Any bytes are made again from their text") func anyBytes() {
        var generator = SeededGenerator(seed: announcedSeed("names"))
        for _ in 0..<2000 {
            // With these few bytes most names contain parts of an escape or of a character.
            let alphabet: [UInt8] = [0x5c, 0x78, 0x66, 0x30, 0xc3, 0xa9, 0xf0, 0x9f, 0x98, 0x80, 0xff]
            let name = SessionName(bytes: (0..<8).map { _ in alphabet[generator.index(below: alphabet.count)] })
            #expect(SessionName(described: name.description) == name)
        }
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

    @Test("All 63 FLBs travel, and are counted down in reverse")
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

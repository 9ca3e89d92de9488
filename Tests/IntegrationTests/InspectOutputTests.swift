// SPDX-License-Identifier: Apache-2.0
import Foundation
import LiveUpdateCore
import LiveUpdateHandover
import TestSupport
import Testing

@testable import luoctl

/// The output of `luoctl inspect` for many damaged arenas, in this process.
@Suite struct InspectOutputTests {
    private static let specimens: [@Sendable () throws -> Specimen] = [
        { try .running() }, { try .published() }, { try .inBetween() },
    ]

    private func check(_ bytes: [UInt8]) throws {
        let found = Inspection(ArenaSnapshot(bytes))
        let document = InspectDocument("arena", found, log: true, pages: true)
        let text = InspectText(document).text
        let harmless = text.unicodeScalars.allSatisfy {
            $0 == "\n" || $0 == "\t" || $0.properties.generalCategory != .control
        }
        #expect(harmless, "\(text)")
        #expect(text.hasPrefix("arena: \(found.failures.isEmpty ? "sound" : "DAMAGED")"))
        for failure in found.failures.prefix(20) { #expect(text.contains("  \(failure.gate.rawValue): ")) }
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let output = try decoder.decode(InspectOutput.self, from: Data(document.json.utf8))
        #expect(output.sound == found.failures.isEmpty)
        #expect(output.failures.map(\.gate) == found.failures.map(\.gate.rawValue))
    }

    @Test("Damaged arenas of three kinds are shown, as text and as JSON", arguments: 0..<3) func damagedArenas(
        kind: Int
    ) throws {
        let seed = announcedSeed("shown damaged arenas, kind \(kind)")
        var generator = SeededGenerator(seed: seed &+ UInt64(kind))
        let specimen = try Self.specimens[kind]()
        for _ in 0..<Scale.count(700) {
            specimen.damage(&generator)
            if Bool.random(using: &generator) { specimen.repair() }
            try check(specimen.copy())
            specimen.restore()
        }
    }

    @Test func cutArenas() throws {
        for make in Self.specimens {
            let whole = try make().copy()
            for length in stride(from: 0, to: whole.count, by: 1009 * Scale.stride) {
                try check([UInt8](whole.prefix(length)))
            }
        }
    }

    @Test func randomBytes() throws {
        var generator = SeededGenerator(seed: announcedSeed("shown random bytes"))
        for _ in 0..<Scale.count(100) {
            var bytes = (0..<8192).map { _ in UInt8.random(in: 0...255, using: &generator) }
            try check(bytes)
            bytes.replaceSubrange(0..<8, with: Array("LUOARENA".utf8))
            try check(bytes)
        }
    }

    @Test("A name cannot control a terminal, and is whole in the JSON") func namesThatAreCommands() throws {
        let name = "\u{1B}[2J\r\n\u{202E}x\u{7}"
        let machine = try Machine(Specimen.options)
        _ = try machine.boot().createSession(SessionName(name))
        let document = InspectDocument(
            "a\u{1B}c", Inspection(ArenaSnapshot(try machine.file.bytes())), log: true, pages: true)
        let text = InspectText(document).text
        #expect(text.contains("\\x1b[2J\\x0d\\x0a\\xe2\\x80\\xaex\\x07"))
        #expect(!text.unicodeScalars.contains { ["\u{1B}", "\r", "\u{202E}", "\u{7}"].contains($0) })
        #expect(SessionName(described: try #require(document.state?.sessions.first?.name)) == SessionName(name))
    }
}

// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

/// `luoctl replay`, as the README in Tests/Vectors describes it.
@Suite struct ReplayTests {
    private static let vectors = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("Vectors").path
    private static let named = "\(vectors)/named.jsonl"
    private static let random = "\(vectors)/random.jsonl"

    private static func scenario(_ name: String, expecting: String, steps: String = #"{"do":"create","session":"s"}"#)
        -> String
    {
        #"{"name":"\#(name)","flbs":[],"handlers":[],"files":{},"handlers_get_flb":false,"#
            + #""steps":[\#(steps)],"expect":[\#(expecting)]}"# + "\n"
    }

    private static let right = scenario("right", expecting: #"{"ret":0,"calls":[]}"#)
    private static let wrong = scenario("wrong", expecting: #"{"ret":-22,"calls":[]}"#)

    @Test func allVectorsPass() async throws {
        let ended = try await luoctl("replay", Self.named, Self.random)
        #expect(ended.status == 0)
        #expect(ended.lines == ["417 passed, 0 failed"])
        #expect(ended.errors.isEmpty)
    }

    @Test("A pipe by its name works, and a directory does not") func whatIsNamed() async throws {
        let piped = try await run(
            ["/bin/sh", "-c", "cat \(Self.named) | \(Program.path("luoctl")) replay /dev/stdin"])
        #expect(piped.status == 0 && piped.lines == ["117 passed, 0 failed"], "\(piped)")
        let directory = try await luoctl("replay", Self.vectors)
        #expect(directory.status == 64 && directory.errors.contains("Is a directory"), "\(directory)")
    }

    @Test("Output that cannot be written is a failure") func fullDisk() async throws {
        let luoctl = Program.path("luoctl")
        let full = try await run(["/bin/sh", "-c", "\(luoctl) replay \(Self.named) >/dev/full"])
        #expect(full.status == 69 && full.errors.contains("No space left"), "\(full)")
        let gone = try await run(["/bin/sh", "-c", "{ \(luoctl) replay \(Self.named); echo $? >&2; } | true"])
        #expect(gone.errors == "0\n", "\(gone)")
    }

    @Test(.timeLimit(.minutes(2))) func thousandsTakeSeconds() async throws {
        let once =
            try String(contentsOfFile: Self.named, encoding: .utf8)
            + String(contentsOfFile: Self.random, encoding: .utf8)
        let ended = try await luoctl("replay", "-", input: String(repeating: once, count: 8))
        #expect(ended.status == 0)
        #expect(ended.lines.last == "3336 passed, 0 failed")
    }

    @Test func aDifferenceIsShownAndCounted() async throws {
        let ended = try await luoctl("replay", "-", input: Self.right + "\n" + Self.wrong + Self.right)
        #expect(ended.status == 1)
        #expect(
            ended.lines == [
                #"-:3 wrong step 1: want {"calls":[],"ret":-22} got {"calls":[],"ret":0}"#, "2 passed, 1 failed",
            ])
    }

    @Test func aDifferenceInAFileNamesTheFile() async throws {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("replay-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: file) }
        try Data(Self.wrong.utf8).write(to: file)
        let ended = try await luoctl("replay", Self.named, file.path)
        #expect(ended.status == 1)
        #expect(ended.lines.first?.hasPrefix("\(file.path):1 wrong step 1: want {") == true)
        #expect(ended.lines.last == "117 passed, 1 failed")
    }

    @Test func traceIsOneObjectForEachStep() async throws {
        let steps = #"{"do":"create","session":"s"},{"do":"create","session":"s"},{"do":"reboot"}"#
        let expected = #"{"calls":[],"ret":0},{"calls":[],"ret":-17},{"calls":[],"ret":0}"#
        let ended = try await luoctl(
            "replay", "--trace", "-", input: Self.scenario("traced", expecting: expected, steps: steps))
        #expect(ended.status == 0)
        #expect(
            ended.lines == [
                #"{"calls":[],"ret":0}"#, #"{"calls":[],"ret":-17}"#, #"{"calls":[],"ret":0}"#, "1 passed, 0 failed",
            ])
    }

    @Test(arguments: [
        "{", "[]", "7", #"{"name":"x"}"#, scenario("x", expecting: ""),
        scenario("x", expecting: #"{"ret":0,"calls":[]}"#, steps: #"{"do":"dance"}"#),
        scenario("x", expecting: #"{"ret":0,"calls":[]}"#, steps: #"{"do":"create"}"#),
        scenario("x", expecting: #"{"ret":"0","calls":[]}"#),
    ])
    func aMalformedScenarioIsRefusedWithItsLine(_ line: String) async throws {
        let ended = try await luoctl("replay", "-", input: Self.right + line)
        #expect(ended.status == 64)
        #expect(ended.errors.hasPrefix("luoctl: -:2: "))
    }

    @Test func aMissingFileIsRefused() async throws {
        let ended = try await luoctl("replay", "/nonexistent/vectors.jsonl")
        #expect(ended.status == 64)
        #expect(ended.errors.contains("/nonexistent/vectors.jsonl: cannot be read"))
        #expect(ended.output.isEmpty)
    }

    @Test func withoutAFileItSaysHowItIsUsed() async throws {
        let ended = try await luoctl("replay")
        #expect(ended.status == 64)
        #expect(ended.errors.contains("Usage: luoctl replay"))
    }
}

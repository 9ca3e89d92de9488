// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// `luoctl metrics`: the text is OpenMetrics, and its values are those of luod.
@Suite struct MetricsTests {
    private func metrics(_ daemon: RunningDaemon) async throws -> OpenMetricsText {
        let ended = try await luoctl("metrics", "--state", daemon.state)
        #expect(ended.status == 0, "\(ended)")
        return try OpenMetricsText(ended.output)
    }

    @Test("Values after an update, a refused update and a killed orchestrator") func values() async throws {
        let daemon = try await RunningDaemon()
        let user = "user=\"\(geteuid())\""
        let client = try daemon.connect()
        let session = try client.create("a \"b\"\n")
        try session.preserve(try MemoryFile(size: 8192), 1)
        let other = try client.create("other")
        try other.preserve(try MemoryFile(bytes: [1]), 1)
        var all = try await metrics(daemon)
        #expect(all["luod_up"] == 1 && all["luod_healthy"] == 1 && all["luod_boot"] == 1)
        #expect(all["luod_sessions{\(user),direction=\"outgoing\",state=\"open\"}"] == 2)
        #expect(all["luod_files{\(user),handler=\"memfd-extents-v1\"}"] == 2)
        #expect(all["luod_size_bytes{\(user),handler=\"memfd-extents-v1\"}"] == 8193)
        #expect(
            all["luod_blackout_seconds_count"] == 0 && all["luod_deaths_total{process=\"gate\",cause=\"kill\"}"] == 0)
        #expect(all["luod_descriptors"] ?? 0 > 4 && all["luod_descriptors_limit"] ?? 0 > 1000)
        #expect(try client.change(.update) == nil)
        kill(try client.status().orchestrator, SIGKILL)
        #expect(try client.change(.update, image: "/bin/false") != nil)
        all = try await metrics(daemon)
        #expect(all["luod_boot"] == 2)
        #expect(all["luod_updates_total{kind=\"update\",result=\"done\"}"] == 1)
        #expect(all["luod_updates_total{kind=\"update\",result=\"called_off\"}"] == 1)
        #expect(all["luod_deaths_total{process=\"orchestrator\",cause=\"kill\"}"] == 1)
        #expect(all["luod_blackout_seconds_count"] == 1)
        #expect(all["luod_blackout_seconds_bucket{le=\"+Inf\"}"] == 1)
        let sum = all["luod_blackout_seconds_sum"] ?? 0
        #expect(sum > 0 && sum < 60, "\(sum)")
        #expect(try client.change(.reload) == nil)
        #expect(try await metrics(daemon)["luod_blackout_seconds_count"] == 2)
        withExtendedLifetime((session, other)) {}
    }

    @Test("A user sees only the own sessions and files, and no counters", .requiresRoot) func users() async throws {
        let daemon = try await RunningDaemon(["--socket-mode", "0666"])
        let mine = try daemon.connect().create("mine")
        let theirs = try daemon.connect(as: nobody).create("theirs")
        unsafe chmod(daemon.state, 0o711)
        let ended = try await runAsNobody(["luoctl"]) { _ in ["metrics", "--state", daemon.state] }
        #expect(ended.status == 0, "\(ended)")
        let all = try OpenMetricsText(ended.output)
        #expect(all.samples.keys.filter { $0.contains("user=\"0\"") }.isEmpty)
        #expect(all["luod_sessions{user=\"\(nobody)\",direction=\"outgoing\",state=\"open\"}"] == 1)
        #expect(all.samples.keys.filter { $0.hasPrefix("luod_updates") || $0 == "luod_descriptors" }.isEmpty)
        withExtendedLifetime((mine, theirs)) {}
    }

    @Test("Without a luod, luod_up is 0 and the exit code 69") func none() async throws {
        let room = try TemporaryDirectory()
        let ended = try await luoctl("metrics", "--state", room.path)
        #expect(ended.status == 69, "\(ended)")
        #expect(try OpenMetricsText(ended.output)["luod_up"] == 0)
    }

    @Test("docs/metrics.md describes each metric") func documented() async throws {
        let daemon = try await RunningDaemon()
        let session = try daemon.connect().create("s")
        try session.preserve(try MemoryFile(), 1)
        let document = try String(contentsOf: Document.root.appendingPathComponent("docs/metrics.md"), encoding: .utf8)
        for family in try await metrics(daemon).families { #expect(document.contains("`\(family)`"), "\(family)") }
    }
}

/// A parser of OpenMetrics text, which refuses anything that the format does not allow.
private struct OpenMetricsText {
    struct Malformed: Error { let line: String }

    /// The names of the families.
    private(set) var families: [String] = []
    /// The values by name and labels, as in the text.
    private(set) var samples: [String: Double] = [:]

    subscript(sample: String) -> Double? { samples[sample] }

    init(_ text: String) throws {
        guard text.hasSuffix("\n# EOF\n") else { throw Malformed(line: "no end") }
        var kinds: [String: String] = [:]
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast(2).map(String.init) {
            if line.hasPrefix("# ") {
                let words = line.split(separator: " ", maxSplits: 3).map(String.init)
                guard words.count == 4 else { throw Malformed(line: line) }
                switch words[1] {
                case "TYPE":
                    guard kinds[words[2]] == nil else { throw Malformed(line: line) }
                    kinds[words[2]] = words[3]
                    families.append(words[2])
                case "UNIT":
                    guard words[2] == families.last, words[2].hasSuffix("_\(words[3])") else {
                        throw Malformed(line: line)
                    }
                case "HELP": guard words[2] == families.last else { throw Malformed(line: line) }
                default: throw Malformed(line: line)
                }
                continue
            }
            try add(line, kind: kinds[families.last ?? ""] ?? "")
        }
    }

    private mutating func add(_ line: String, kind: String) throws {
        let pattern = /(?<name>[a-z_]+)(?<labels>\{([a-z_]+="([^"\\\n]|\\["\\n])*",?)+\})? (?<value>[0-9.e+\-]+|\+Inf)/
        guard let match = try pattern.wholeMatch(in: line), let family = families.last,
            match.name.hasPrefix(family), let value = Double(match.value), !match.name.isEmpty
        else { throw Malformed(line: line) }
        let suffix = match.name.dropFirst(family.count)
        let allowed: [Substring] =
            switch kind {
            case "counter": ["_total"]
            case "histogram": ["_bucket", "_count", "_sum"]
            default: [""]
            }
        let key = "\(match.name)\(match.labels ?? "")"
        guard allowed.contains(suffix), samples[key] == nil else { throw Malformed(line: line) }
        samples[key] = value
    }
}

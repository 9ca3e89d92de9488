// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// The death of every process, at each store into the arena. A file with a name on hugetlbfs is found again from the
/// arena alone, from its preserve to its release. A memory file is always lost, and the next process reports that.
@Suite(.requiresRoot) struct DeathTests {
    /// The result of the next process.
    private struct Finding {
        let store: Int
        let named: String
        let memory: String
        let line: [String: String]
    }

    /// Kills the boot of that number at each of its stores.
    private func sweep(_ boot: Int) async throws -> [Finding] {
        let ended = try await inNamespace(
            """
            store=0
            while rm -f /mnt/arena /mnt/huge/guest
                  ! "$PROBE" death run /mnt/arena /mnt/huge/guest --kill \(boot) $store >/dev/null
            do
                if [ -e /mnt/arena ]
                then "$PROBE" death find /mnt/arena | grep -v flb && "$PROBE" death find /mnt/arena | grep -v flb
                else echo '{"left":"0 0"}'; echo '{"left":"0 0"}'
                fi || exit 1
                store=$((store + \(Scale.stride)))
            done
            """)
        #expect(ended.status == 0, "\(ended)")
        let lines = try ended.objects()
        return stride(from: 0, to: lines.count - 1, by: 2).map { index in
            #expect(lines[index]["left"] == "0 0", "\(lines[index])")
            #expect(lines[index + 1]["1"] == nil && lines[index + 1]["2"] == nil, "it was let go of")
            return Finding(
                store: index / 2, named: lines[index]["1"] ?? "absent", memory: lines[index]["2"] ?? "absent",
                line: lines[index])
        }
    }

    /// Checks that the result changes at most once, from `first` to `last`.
    private func expect(_ findings: [Finding], first: String, then last: String, _ found: (Finding) -> String) {
        let kinds = findings.map(found)
        let change = kinds.firstIndex(of: last) ?? kinds.count
        #expect(kinds[..<change].allSatisfy { $0 == first }, "\(findings.map(\.line))")
        #expect(kinds[change...].allSatisfy { $0 == last }, "\(findings.map(\.line))")
        // With a stride the last stores may be left out.
        #expect(kinds.first == first && (kinds.last == last || Scale.stride > 1))
    }

    private func isLost(_ finding: Finding) -> String {
        let says = finding.memory.hasPrefix("\(Errno.badFileDescriptor.rawValue) ")
        return says && finding.memory.contains("with the last process that held it") ? "lost" : finding.memory
    }

    @Test("All die in the first boot, up to the update", .requiresHugePages(8)) func beforeTheUpdate() async throws {
        let findings = try await sweep(0)
        #expect(findings.count > 20 / Scale.stride)
        expect(findings, first: "absent", then: "intact") { $0.named }
        expect(findings, first: "absent", then: "lost", isLost)
        // After a kill at the last store the update has not happened. The next test covers the time after it.
        #expect(findings.allSatisfy { $0.line["update"] ?? "0" == "0" })
    }

    @Test("All die in the boot after the update", .requiresHugePages(8)) func afterTheUpdate() async throws {
        let findings = try await sweep(1)
        #expect(findings.count > 8 / Scale.stride)
        expect(findings, first: "intact", then: "absent") { $0.named }
        #expect(findings.allSatisfy { $0.line["update"] == "1" })
        // The named file is intact until the session is finished.
        #expect(findings.allSatisfy { ["lost", "absent"].contains(isLost($0)) })
        #expect(findings.allSatisfy { (isLost($0) == "lost") == ($0.named == "intact") })
    }

    @Test("All die between the two boots", .requiresHugePages(8)) func inBetween() async throws {
        let ended = try await inNamespace(
            """
            "$PROBE" death run /mnt/arena /mnt/huge/guest --image 'kill -9 $$'
            "$PROBE" death find /mnt/arena
            """)
        let line = try #require(try ended.objects().last)
        #expect(line["1"] == "intact" && line["update"] == "1" && line["direction"] == "incoming", "\(ended)")
        #expect(line["2"]?.contains("gone with the last process that held it") == true)
    }

    @Test("Without a death both files come", .requiresHugePages(8)) func noDeath() async throws {
        let ended = try await inNamespace(#""$PROBE" death run /mnt/arena /mnt/huge/guest"#)
        #expect(ended.status == 0, "\(ended)")
        #expect(try ended.objects().last == ["done": "1 intact,2 intact"])
    }
}

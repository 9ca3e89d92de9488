import Platform
import SystemPackage
import TestSupport
import Testing

/// The death of every process, at every store into the arena: a file with a name on hugetlbfs is found again from the
/// arena alone, from the moment when it was preserved until it was let go of; a memory file never is, and that is said.
@Suite(.requiresRoot) struct DeathTests {
    /// What the next process found.
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

    /// What is found changes at most once, in that order.
    private func expect(_ findings: [Finding], first: String, then last: String, _ found: (Finding) -> String) {
        let kinds = findings.map(found)
        let change = kinds.firstIndex(of: last) ?? kinds.count
        #expect(kinds[..<change].allSatisfy { $0 == first }, "\(findings.map(\.line))")
        #expect(kinds[change...].allSatisfy { $0 == last }, "\(findings.map(\.line))")
        // With a stride the last stores may not be among them.
        #expect(kinds.first == first && (kinds.last == last || Scale.stride > 1))
    }

    private func isLost(_ finding: Finding) -> String {
        let says = finding.memory.hasPrefix("\(Errno.badFileDescriptor.rawValue) ")
        return says && finding.memory.contains("with the last process that held it") ? "lost" : finding.memory
    }

    @Test("In the boot that preserves it, up to the update", .requiresHugePages(8)) func beforeTheUpdate() async throws
    {
        let findings = try await sweep(0)
        #expect(findings.count > 20 / Scale.stride)
        expect(findings, first: "absent", then: "intact") { $0.named }
        expect(findings, first: "absent", then: "lost", isLost)
        // Killed at the very last store, the update has not been; after it, it has: see below.
        #expect(findings.allSatisfy { $0.line["update"] ?? "0" == "0" })
    }

    @Test("In the boot that it comes to", .requiresHugePages(8)) func afterTheUpdate() async throws {
        let findings = try await sweep(1)
        #expect(findings.count > 8 / Scale.stride)
        expect(findings, first: "intact", then: "absent") { $0.named }
        #expect(findings.allSatisfy { $0.line["update"] == "1" })
        // Until the session is finished.
        #expect(findings.allSatisfy { ["lost", "absent"].contains(isLost($0)) })
        #expect(findings.allSatisfy { (isLost($0) == "lost") == ($0.named == "intact") })
    }

    @Test("Between the two, when nobody runs", .requiresHugePages(8)) func inBetween() async throws {
        let ended = try await inNamespace(
            """
            "$PROBE" death run /mnt/arena /mnt/huge/guest --image 'kill -9 $$'
            "$PROBE" death find /mnt/arena
            """)
        let line = try #require(try ended.objects().last)
        #expect(line["1"] == "intact" && line["update"] == "1" && line["direction"] == "incoming", "\(ended)")
        #expect(line["2"]?.contains("gone with the last process that held it") == true)
    }

    @Test("Nobody dies: both come", .requiresHugePages(8)) func noDeath() async throws {
        let ended = try await inNamespace(#""$PROBE" death run /mnt/arena /mnt/huge/guest"#)
        #expect(ended.status == 0, "\(ended)")
        #expect(try ended.objects().last == ["done": "1 intact,2 intact"])
    }
}

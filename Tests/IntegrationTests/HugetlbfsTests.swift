// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

/// Files of a hugetlbfs mount. The mount is in its own mount namespace and ends with the probe.
@Suite struct HugetlbfsTests {
    private func offer(_ arguments: String) async throws -> Ended {
        let script = """
            mount -t hugetlbfs -o pagesize=2M none /mnt && exec "$0" offer /mnt/file \(arguments)
            """
        return try await run([
            "/usr/bin/unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", script,
            Program.path("UpdateProbe"),
        ])
    }

    @Test(.requiresRoot) func aFileWithANameIsTaken() async throws {
        let ended = try await offer("")
        #expect(ended.status == 0, "\(ended)")
        #expect(try ended.objects().last == ["taken": "true"])
    }

    @Test("An unlinked file is a hugetlb memory file", .requiresRoot) func anUnnamedFileIsTaken() async throws {
        let ended = try await offer("--unlink")
        #expect(ended.status == 0, "\(ended)")
        #expect(try ended.objects().last == ["taken": "true"])
    }
}

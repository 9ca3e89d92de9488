import Foundation
import Glibc
import Platform
import SystemPackage

/// A directory of tmpfs that is gone with the last reference to it.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        var template = Array("/dev/shm/liveupdate-XXXXXX".utf8CString)
        guard unsafe mkdtemp(&template) != nil else { throw SystemCallError("mkdtemp", Errno(rawValue: Glibc.errno)) }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// A name in it.
    func file(_ name: String) -> String { "\(path)/\(name)" }

    /// What is in it.
    var names: [String] { get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() } }
}

/// Runs a shell script, as root, where it alone sees an empty tmpfs at /mnt and hugetlbfs of 2 MiB pages at /mnt/huge.
/// They end with it. "$PROBE" is UpdateProbe.
func inNamespace(_ script: String) async throws -> Ended {
    let mounts = """
        mount -t tmpfs none /mnt && mkdir /mnt/huge && mount -t hugetlbfs -o pagesize=2M none /mnt/huge || exit 70

        """
    return try await run(
        ["/usr/bin/unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", mounts + script],
        environment: ["PROBE=\(Program.path("UpdateProbe"))"])
}

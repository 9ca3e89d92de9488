// SPDX-License-Identifier: Apache-2.0

/// Runs a shell script as root, in a mount namespace with an empty tmpfs at /mnt and a hugetlbfs of 2 MiB pages at
/// /mnt/huge. The mounts end with the script. "$PROBE" is UpdateProbe.
func inNamespace(_ script: String) async throws -> Ended {
    let mounts = """
        mount -t tmpfs none /mnt && mkdir /mnt/huge && mount -t hugetlbfs -o pagesize=2M none /mnt/huge || exit 70

        """
    return try await run(
        ["/usr/bin/unshare", "--mount", "--propagation", "private", "/bin/sh", "-c", mounts + script],
        environment: ["PROBE=\(Program.path("UpdateProbe"))"])
}

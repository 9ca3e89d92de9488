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

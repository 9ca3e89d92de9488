// SPDX-License-Identifier: Apache-2.0

/// The unit of systemd that a process belongs to, as far as it decides whether a process of the unit lives until the
/// kernel ends. This type does no I/O.
package struct ServiceUnit: Equatable, Sendable {
    /// The name of the unit, such as `luod.service`.
    package let name: String

    /// Finds the unit of a process. The result is nil for a process that is in no service: systemd ends all processes
    /// of a login session, for example.
    ///
    /// - Parameter groups: the content of /proc/PID/cgroup: cgroups(7).
    package init?(groups: String) {
        let paths = groups.split(separator: "\n").compactMap { line -> Substring? in
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3, parts[1].isEmpty || parts[1] == "name=systemd" else { return nil }
            return parts[2]
        }
        let names = paths.flatMap { $0.split(separator: "/") }.filter { $0.hasSuffix(".service") }
        guard let name = names.last else { return nil }
        self.name = String(name)
    }

    /// The properties that decide, for `systemctl show --property=`.
    package static let properties = "KillMode,ExitType"

    /// Whether systemd leaves the other processes of the unit alone when it stops the unit, and does not wait for their
    /// end: systemd.kill(5), systemd.service(5).
    ///
    /// - Parameter properties: the output of `systemctl show` for ``properties``. A systemd before version 250 knows no
    ///   ExitType=, and acts as with `main`.
    /// - Returns: whether the holder of luod lives until the kernel ends.
    package static func leavesProcesses(_ properties: String) -> Bool {
        let lines = properties.split(separator: "\n")
        return (lines.contains("KillMode=process") || lines.contains("KillMode=none"))
            && !lines.contains("ExitType=cgroup")
    }
}

// SPDX-License-Identifier: Apache-2.0
import SystemPackage

/// Files of another process on a file system with a server, such as FUSE or NFS. A look at such a file waits for the
/// server. If the server does not answer, even the close of a duplicated descriptor never returns.
///
/// 1. The mount of a descriptor is in /proc/PID/fdinfo, and the file system of a mapped file in /proc/PID/maps.
/// 2. mountinfo of the process, or of this process, has the type of the file system.
/// 3. A mount that neither of them sees belongs to another mount namespace, or to the kernel. The kernel's own files,
///    such as memory files and pipes, are known by their names.
package struct ServedFiles: Sendable {
    private let byNumber: [UInt64: Mount]
    private let byDevice: [UInt64: Mount]

    /// Reads the mounts of a process, and of this process.
    package init(of process: CInt) {
        let theirs = (try? readBytes("/proc/\(process)/mountinfo")).map { Mount.all(in: $0) } ?? []
        self.init(theirs + ((try? Mount.all()) ?? []))
    }

    init(_ mounts: [Mount]) {
        byNumber = Dictionary(mounts.map { ($0.number, $0) }) { first, _ in first }
        byDevice = Dictionary(mounts.map { ($0.device, $0) }) { first, _ in first }
    }

    /// Whether a descriptor of the process leads to such a file.
    package func contains(descriptor number: CInt, of process: CInt) -> Bool {
        guard let info = try? readWhole("/proc/\(process)/fdinfo/\(number)"),
            let name = try? linkTarget("/proc/\(process)/fd/\(number)")
        else { return false }
        return contains(mount: Self.mount(inInfo: info).flatMap { byNumber[$0] }, name)
    }

    /// Whether a mapped file is such a file.
    package func contains(_ area: MappedArea) -> Bool {
        if let mount = byDevice[area.file.device] { return Self.isServed(mount.type) }
        // A file system with a major number is on a disk of this machine.
        guard area.file.device >> 8 & 0xFFF == 0 else { return false }
        return !Self.isOfKernel(area.path)
    }

    /// Whether the mount of a mapped file is not known, so that its file may or may not be such a file.
    package func isUnknown(_ area: MappedArea) -> Bool { byDevice[area.file.device] == nil }

    private func contains(mount: Mount?, _ name: String) -> Bool {
        mount.map { Self.isServed($0.type) } ?? !Self.isOfKernel(name)
    }

    /// The mount ID in the text of a file of /proc/PID/fdinfo.
    static func mount(inInfo text: String) -> UInt64? {
        let line = text.split(separator: "\n").first { $0.hasPrefix("mnt_id:") }
        return line.flatMap { UInt64($0.drop { !$0.isNumber }) }
    }

    /// Whether files of this type of file system are on a server.
    static func isServed(_ type: String) -> Bool { type.hasPrefix("fuse") || served.contains(type) }

    private static let served: Set<String> = [
        "9p", "afs", "autofs", "ceph", "cifs", "coda", "gfs2", "lustre", "nfs", "nfs4", "ocfs2", "orangefs", "smb3",
        "virtiofs",
    ]

    /// Whether a file has a name that the kernel gives to its own files. The name of any other file is a path.
    static func isOfKernel(_ name: String) -> Bool {
        !name.hasPrefix("/") || names.contains { name.hasPrefix($0) }
    }

    private static let names = ["/memfd:", "/dev/zero (deleted)", "/SYSV", "/secretmem", "/anon_hugepage", "/["]
}

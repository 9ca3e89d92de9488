// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import SystemPackage

/// Decides from the mount table whether a path may be walked to a file on some types of file systems. It makes no
/// system call.
enum MountWay: Equatable {
    /// The path leads through these mounts, in their order, and none of them asks a server. The file is on the file
    /// system of the last one.
    case leads(through: [Mount])
    /// The path leads through a mount with a file system that may ask a server. That server may never answer.
    case asksServer(type: String)
    /// The path leads to another file system of such a type.
    case otherDevice(UInt64)
    /// The path leads to a file system of another type.
    case otherType

    /// Decides about a path.
    ///
    /// - Parameters:
    ///   - path: an absolute path.
    ///   - types: the types of file systems that the file can be on.
    ///   - device: `st_dev` of the file; nil when the device can have another number now.
    ///   - mounts: all mounts in the namespace of the thread that walks the path.
    init(_ path: FilePath, to types: Set<String> = ["hugetlbfs"], device: UInt64?, _ mounts: [Mount]) {
        let way = Self.crossed(path, mounts)
        // The program and its libraries are read from the root, so its file system is trusted already.
        let others = way.first?.point == "/" ? way.dropFirst() : way[...]
        if let asking = others.first(where: { !Self.serverless.contains($0.type) }) {
            self = .asksServer(type: asking.type)
        } else if let last = way.last, types.contains(last.type) {
            self = device == nil || last.device == device ? .leads(through: way) : .otherDevice(last.device)
        } else {
            self = .otherType
        }
    }

    /// The file systems in memory or on a block device of this machine, which a path may cross. A list of forbidden
    /// types could not be complete: new types are added, those of FUSE name themselves (`fuse.sshfs`), and an overlay
    /// asks the servers of its layers. If a type is missing here, a file is refused with a reason. If a type were
    /// missing in a list of forbidden types, the orchestrator would hang.
    private static let serverless: Set<String> = [
        "bcachefs", "btrfs", "devtmpfs", "ext2", "ext3", "ext4", "f2fs", "hugetlbfs", "iso9660", "jfs", "proc", "ramfs",
        "rootfs", "squashfs", "sysfs", "tmpfs", "vfat", "xfs", "zfs",
    ]

    /// The mounts that a walk along a path enters, in their order. A mount that another one hides is not among them.
    private static func crossed(_ path: FilePath, _ mounts: [Mount]) -> [Mount] {
        let bytes = path.bytes
        var rest = mounts.filter { $0.covers(bytes) }
        var way: [Mount] = []
        while let next = next(after: way.last, rest, mounts) {
            way.append(next)
            rest.removeAll { $0.number == next.number }
        }
        return way
    }

    private static func next(after last: Mount?, _ rest: [Mount], _ mounts: [Mount]) -> Mount? {
        let entered = rest.filter { mount in
            if let last { return mount.parent == last.number }
            return mount.parent == mount.number || !mounts.contains { $0.number == mount.parent }
        }
        // All mount points are beginnings of one path, so the shortest one is entered first.
        return entered.min { $0.pointBytes.count < $1.pointBytes.count }
    }
}

extension Mount {
    /// Whether a path begins with the mount point. /mnt/huge is no beginning of /mnt/huge2.
    fileprivate func covers(_ path: [UInt8]) -> Bool {
        let slash = UInt8(ascii: "/")
        guard path.starts(with: pointBytes) else { return false }
        return pointBytes.count == path.count || pointBytes.last == slash || path[pointBytes.count] == slash
    }
}

// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCommandLine
import LiveUpdatePlatform

/// The report as JSON. docs/hugepages.md has the schema. Raise the version when a field changes its meaning or is
/// removed.
extension PoolReport {
    var json: String {
        struct Output: Encodable {
            var version = 1
            var pools: [Pool]
            var holders: [Holder]
            var unopenedFiles: [File]
            var reservingMounts: [ReservingMount]
            var hiddenProcesses: [CInt]
            var hiddenDirectories: [String]
        }
        return jsonText(
            Output(
                pools: pools.map { Pool($0, holders.pages(of: $0.pageSize), holders.reservedPages(of: $0.pageSize)) },
                holders: holders.holders.map { Holder($0, sessions) },
                unopenedFiles: holders.unopened.map { File($0) },
                reservingMounts: holders.reservingMounts.map(ReservingMount.init),
                hiddenProcesses: holders.hiddenProcesses,
                hiddenDirectories: holders.hiddenDirectories))
    }

    /// All counts are in pages.
    private struct Pool: Encodable {
        var counts: PoolCounts
        var inUse: UInt64
        var held: UInt64
        var anonymous: UInt64
        var unopened: UInt64
        var unexplained: Int64
        var reservedByMappings: UInt64
        var reservedByMounts: UInt64

        init(
            _ pool: HugePagePool, _ pages: HugePageHolders.Pages, _ reserved: (mappings: UInt64, mounts: UInt64)
        ) {
            (reservedByMappings, reservedByMounts) = reserved
            counts = PoolCounts(pool)
            inUse = pool.inUse
            held = pages.held
            anonymous = pages.anonymous
            unopened = pages.unopened
            unexplained = pool.unexplained(pages)
        }
    }

    private struct Holder: Encodable {
        struct Mapped: Encodable {
            var pageSize: UInt64
            var bytes: UInt64
            var path: String
            var device: UInt64
            var inode: UInt64
            var reserved: UInt64
            var held: HeldFileNames.Name?
        }
        var pid: CInt
        var command: String
        var mapped: [Mapped]
        var descriptors: [File]

        init(_ holder: HugePageHolders.Holder, _ names: HeldFileNames) {
            pid = holder.process
            command = holder.command
            mapped = holder.mapped.map { file in
                Mapped(
                    pageSize: file.pageSize.bytes, bytes: file.bytes, path: file.path, device: file.identity.device,
                    inode: file.identity.inode, reserved: file.reserved, held: names.name(of: file.identity))
            }
            descriptors = holder.open.map { File($0.file, $0.descriptor, names.name(of: $0.file.identity)) }
        }
    }

    private struct ReservingMount: Encodable {
        var path: String
        var pageSize: UInt64
        var minSize: UInt64
        var unused: UInt64

        init(_ mount: HugePageHolders.ReservingMount) {
            (path, pageSize, minSize, unused) = (mount.point, mount.pageSize.bytes, mount.least, mount.unused)
        }
    }

    private struct File: Encodable {
        var fd: CInt?
        var path: String
        var pageSize: UInt64
        var size: UInt64
        var bytes: UInt64
        var device: UInt64
        var inode: UInt64
        var links: UInt64
        /// The session and the token, if luod holds the file.
        var held: HeldFileNames.Name?

        init(_ file: HugePageHolders.File, _ descriptor: CInt? = nil, _ held: HeldFileNames.Name? = nil) {
            self.held = held
            fd = descriptor
            path = file.path
            pageSize = file.pageSize.bytes
            size = file.size
            bytes = file.allocated
            device = file.identity.device
            inode = file.identity.inode
            links = file.links
        }
    }
}

/// The counters of a pool, in pages, in their JSON form.
struct PoolCounts: Encodable {
    struct Node: Encodable {
        var node: Int
        var total: UInt64
        var persistent: UInt64
        var free: UInt64
        var surplus: UInt64
    }

    /// The size of a page, in bytes.
    var pageSize: UInt64
    var total: UInt64
    var persistent: UInt64
    var free: UInt64
    var reserved: UInt64
    var surplus: UInt64
    var overcommit: UInt64
    var nodes: [Node]

    init(_ pool: HugePagePool) {
        pageSize = pool.pageSize.bytes
        total = pool.total
        persistent = pool.persistent
        free = pool.free
        reserved = pool.reserved
        surplus = pool.surplus
        overcommit = pool.overcommit
        nodes = pool.nodes.map { node in
            Node(
                node: node.id, total: node.total, persistent: node.persistent, free: node.free, surplus: node.surplus)
        }
    }
}

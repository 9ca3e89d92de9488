import Glibc
import SystemPackage

/// The pool of one size of huge page, an hstate: its settings and counters, in pages (the kernel's
/// admin-guide/mm/hugetlbpage).
public struct HugePagePool: Equatable, Sendable {
    /// The pool's part on one NUMA node.
    public struct Node: Equatable, Sendable {
        public let id: Int
        public let total: UInt64
        public let free: UInt64
        public let surplus: UInt64

        /// Pages that stay when they are freed.
        public var persistent: UInt64 { total - min(surplus, total) }

        public init(id: Int, total: UInt64, free: UInt64, surplus: UInt64) {
            self.id = id
            self.total = total
            self.free = free
            self.surplus = surplus
        }
    }

    public let pageSize: PageSize
    /// `nr_hugepages`: with the surplus ones.
    public let total: UInt64
    public let free: UInt64
    /// Promised to mappings, and not yet taken from the free ones.
    public let reserved: UInt64
    /// Over the persistent number: they vanish when they are freed.
    public let surplus: UInt64
    /// `nr_overcommit_hugepages`: how many surplus ones there may be.
    public let overcommit: UInt64
    public let nodes: [Node]

    /// Pages that stay when they are freed: what a write to `nr_hugepages` sets.
    public var persistent: UInt64 { total - min(surplus, total) }

    /// Free and not promised.
    public var available: UInt64 { free - min(reserved, free) }

    /// Reads a pool.
    ///
    /// - Throws: ENOENT, when the kernel has no huge pages of that size.
    public init(_ pageSize: PageSize) throws(SystemCallError) {
        let path = Self.path(pageSize)
        self.pageSize = pageSize
        total = try readNumber("\(path)/nr_hugepages")
        free = try readNumber("\(path)/free_hugepages")
        reserved = try readNumber("\(path)/resv_hugepages")
        surplus = try readNumber("\(path)/surplus_hugepages")
        overcommit = try readNumber("\(path)/nr_overcommit_hugepages")
        var nodes: [Node] = []
        for id in try directoryEntries(Self.nodesPath).compactMap(Self.nodeNumber).sorted() {
            let path = Self.path(pageSize, node: id)
            guard let total = try? readNumber("\(path)/nr_hugepages") else { continue }
            nodes.append(
                Node(
                    id: id, total: total, free: try readNumber("\(path)/free_hugepages"),
                    surplus: try readNumber("\(path)/surplus_hugepages")))
        }
        self.nodes = nodes
    }

    /// All pools that the kernel has, smallest pages first; none when it has no huge pages.
    ///
    /// - Throws: what reading one of them answers.
    public static func all() throws(SystemCallError) -> [HugePagePool] {
        var pools: [HugePagePool] = []
        let names = (try? directoryEntries("/sys/kernel/mm/hugepages")) ?? []
        for size in names.compactMap(pageSize).sorted() { pools.append(try HugePagePool(size)) }
        return pools
    }

    /// Sets the persistent number: an absolute one. The kernel may give fewer than were asked for, without an error;
    /// read the pool again to know.
    ///
    /// - Parameter node: only that node's part.
    /// - Throws: EACCES or EPERM without the right, ENOENT, EINVAL for a size that cannot be had at run time.
    public static func setPersistent(
        _ count: UInt64, of pageSize: PageSize, node: Int? = nil
    ) throws(SystemCallError) {
        try writeNumber(count, to: "\(path(pageSize, node: node))/nr_hugepages")
    }

    /// Sets how many surplus pages there may be.
    ///
    /// - Throws: as ``setPersistent(_:of:node:)``.
    public static func setOvercommit(_ count: UInt64, of pageSize: PageSize) throws(SystemCallError) {
        try writeNumber(count, to: "\(path(pageSize))/nr_overcommit_hugepages")
    }

    private static let nodesPath = "/sys/devices/system/node"

    private static func path(_ pageSize: PageSize, node: Int? = nil) -> String {
        let name = "hugepages-\(pageSize.bytes >> 10)kB"
        guard let node else { return "/sys/kernel/mm/hugepages/\(name)" }
        return "\(nodesPath)/node\(node)/hugepages/\(name)"
    }

    private static func nodeNumber(_ name: String) -> Int? {
        name.hasPrefix("node") ? Int(name.dropFirst(4)) : nil
    }

    private static func pageSize(_ name: String) -> PageSize? {
        guard name.hasPrefix("hugepages-"), name.hasSuffix("kB") else { return nil }
        return UInt64(name.dropFirst(10).dropLast(2)).flatMap { PageSize(bytes: $0 << 10) }
    }
}

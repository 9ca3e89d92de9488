// SPDX-License-Identifier: Apache-2.0
import Glibc
import SystemPackage

/// The pool of one size of huge page, an hstate: its settings and counters, in pages (the kernel's
/// admin-guide/mm/hugetlbpage).
package struct HugePagePool: Equatable, Sendable {
    /// The pool's part on one NUMA node.
    package struct Node: Equatable, Sendable {
        /// The kernel's number of the node.
        package let id: Int
        /// All pages, including surplus pages.
        package let total: UInt64
        /// Pages that are not in use. Some of them may be promised to mappings.
        package let free: UInt64
        /// Pages over the persistent number, which vanish when they are freed.
        package let surplus: UInt64

        /// Pages that stay when they are freed.
        package var persistent: UInt64 { total - min(surplus, total) }

        /// Holds the numbers of a node.
        package init(id: Int, total: UInt64, free: UInt64, surplus: UInt64) {
            self.id = id
            self.total = total
            self.free = free
            self.surplus = surplus
        }
    }

    /// The page size of the pool.
    package let pageSize: PageSize
    /// `nr_hugepages`: all pages, including surplus pages.
    package let total: UInt64
    /// Pages that are not in use. Some of them may be promised to mappings.
    package let free: UInt64
    /// Pages that are promised to mappings, and still count as free.
    package let reserved: UInt64
    /// Pages over the persistent number, which vanish when they are freed.
    package let surplus: UInt64
    /// `nr_overcommit_hugepages`: how many surplus pages there may be.
    package let overcommit: UInt64
    /// The parts of the pool, in the order of the nodes' numbers.
    package let nodes: [Node]

    /// Pages that stay when they are freed. A write to `nr_hugepages` sets this number.
    package var persistent: UInt64 { total - min(surplus, total) }

    /// Pages that are free and not promised.
    package var available: UInt64 { free - min(reserved, free) }

    /// Reads a pool, by default one of this machine. On a kernel without NUMA all of it is on node 0.
    ///
    /// - Throws: ENOENT, when the kernel has no huge pages of that size.
    package init(_ pageSize: PageSize, on machine: MachineNodes = .own) throws(SystemCallError) {
        let path = try machine.poolPath(pageSize)
        self.pageSize = pageSize
        total = try readNumber("\(path)/nr_hugepages")
        free = try readNumber("\(path)/free_hugepages")
        reserved = try readNumber("\(path)/resv_hugepages")
        surplus = try readNumber("\(path)/surplus_hugepages")
        overcommit = try readNumber("\(path)/nr_overcommit_hugepages")
        var nodes: [Node] = []
        for id in try machine.numbers() {
            let path = try machine.poolPath(pageSize, node: id)
            let read = try ifThere { () throws(SystemCallError) in try readNumber("\(path)/nr_hugepages") }
            guard let total = read else { continue }
            nodes.append(
                Node(
                    id: id, total: total, free: try readNumber("\(path)/free_hugepages"),
                    surplus: try readNumber("\(path)/surplus_hugepages")))
        }
        self.nodes = nodes
    }

    /// All pools of the kernel, smallest pages first; none when the kernel has no huge pages.
    ///
    /// - Throws: the error of reading a pool.
    package static func all(on machine: MachineNodes = .own) throws(SystemCallError) -> [HugePagePool] {
        var pools: [HugePagePool] = []
        for size in try machine.poolSizes() { pools.append(try HugePagePool(size, on: machine)) }
        return pools
    }

    /// Sets the persistent number to an absolute one. The kernel may give fewer pages than were asked for, without an
    /// error. It is then asked again, because it moves other pages out of the way while it looks for room. Read the
    /// pool to see how many it gave.
    ///
    /// - Parameters:
    ///   - count: the number of pages.
    ///   - pageSize: the page size of the pool.
    ///   - node: the node whose part is set; nil for the whole pool.
    /// - Throws: EACCES or EPERM without the right, ENOENT, EINVAL for a size that the kernel cannot give at run time.
    package static func setPersistent(
        _ count: UInt64, of pageSize: PageSize, node: Int? = nil
    ) throws(SystemCallError) {
        for _ in 0..<3 {
            try writeNumber(count, to: "\(MachineNodes.own.poolPath(pageSize, node: node))/nr_hugepages")
            // If the pool cannot be read, this does not ask again: the write itself succeeded.
            guard let now = try? HugePagePool(pageSize), now.persistent(onNode: node) < count else { return }
        }
    }

    /// Checks whether the numbers of a pool may be set, without setting one.
    ///
    /// - Throws: EACCES without the right, EROFS where /sys is mounted read-only, as in containers, ENOENT when the
    ///   kernel has no huge pages of that size.
    static func checkRight(toChange pageSize: PageSize, node: Int? = nil) throws(SystemCallError) {
        let path = "\(try MachineNodes.own.poolPath(pageSize, node: node))/nr_hugepages"
        try systemCall("faccessat") { unsafe faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) }
    }

    /// Sets how many surplus pages there may be.
    ///
    /// - Throws: as ``setPersistent(_:of:node:)``.
    package static func setOvercommit(_ count: UInt64, of pageSize: PageSize) throws(SystemCallError) {
        try writeNumber(count, to: "\(MachineNodes.own.poolPath(pageSize))/nr_overcommit_hugepages")
    }
}

// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandover
public import LiveUpdatePlatform

/// The number of huge pages that travel, for each size: `hugetlb-v1`, in the kernel's layout of 37 bytes:
/// `4 × { u64 pages preserved, u8 order }, u8 pools in use`. It is derived from the files when an update is published.
struct HugeTLBRecord: Equatable {
    static let compatible = "hugetlb-v1"
    static let length = 37
    private static let slots = 4

    /// The pools by rising order.
    var pools: [(order: UInt8, pages: UInt64)]

    static func == (left: Self, right: Self) -> Bool {
        left.pools.elementsEqual(right.pools) { $0.order == $1.order && $0.pages == $1.pages }
    }

    init(pages: [PageSize: UInt64]) {
        pools = pages.sorted { $0.key < $1.key }.prefix(Self.slots).map { ($0.key.order, $0.value) }
    }

    func encode(into writer: inout ByteWriter) {
        for slot in 0..<Self.slots {
            writer.put(slot < pools.count ? pools[slot].pages : 0)
            writer.put(slot < pools.count ? pools[slot].order : 0)
        }
        writer.put(UInt8(pools.count))
    }

    init(_ reader: inout ByteReader) throws(ArenaError) {
        var all: [(order: UInt8, pages: UInt64)] = []
        for _ in 0..<Self.slots {
            let pages = try reader.take(UInt64.self)
            all.append((try reader.take(), pages))
        }
        let count = Int(try reader.take(UInt8.self))
        guard count <= Self.slots, all.prefix(count).allSatisfy({ (1...30).contains($0.order) }) else {
            throw ArenaError(.record, "\(Self.compatible): \(count) pools")
        }
        pools = [(order: UInt8, pages: UInt64)](all.prefix(count))
    }

    /// The number of preserved pages of a size.
    func pages(of size: PageSize) -> UInt64 { pools.first { $0.order == size.order }?.pages ?? 0 }
}

/// The settings of the pools when the first hugetlb file was preserved: `hugetlb-pools-v1`, behind the `hugetlb-v1`
/// record. The layout is `char compatible[48], u64 pools`, then for each pool
/// `u64 order, u64 persistent, u64 surplus, u64 overcommit, u64 nodes`, then for each node
/// `u64 number, u64 persistent`.
public struct HugeTLBSettings: Equatable, Sendable {
    static let compatible = "hugetlb-pools-v1"

    /// One pool's settings, in pages.
    public struct Pool: Equatable, Sendable {
        /// The page size of the pool.
        public var pageSize: PageSize
        /// `nr_hugepages`, without the surplus ones.
        public var persistent: UInt64
        /// The pages above the persistent number.
        public var surplus: UInt64
        /// `nr_overcommit_hugepages`
        public var overcommit: UInt64
        /// The persistent pages of each NUMA node.
        public var nodes: [Int: UInt64]

        init(_ pool: HugePagePool) {
            pageSize = pool.pageSize
            persistent = pool.persistent
            surplus = pool.surplus
            overcommit = pool.overcommit
            nodes = Dictionary(uniqueKeysWithValues: pool.nodes.map { ($0.id, $0.persistent) })
        }

        fileprivate init(_ reader: inout ByteReader) throws(ArenaError) {
            let order = try reader.take(UInt64.self)
            guard (1...30).contains(order) else { throw ArenaError(.record, "a pool of order \(order)") }
            pageSize = PageSize(order: UInt8(order))
            persistent = try reader.take()
            surplus = try reader.take()
            overcommit = try reader.take()
            nodes = [:]
            for _ in 0..<(try reader.take(UInt64.self)) {
                let node = try reader.take(UInt64.self)
                guard node < 4096 else { throw ArenaError(.record, "a pool on node \(node)") }
                nodes[Int(node)] = try reader.take()
            }
        }
    }

    /// The pools, in the order of their page sizes: the smallest first.
    public var pools: [Pool]

    init(_ pools: [HugePagePool]) { self.pools = pools.map(Pool.init) }

    func encode(into writer: inout ByteWriter) {
        writer.put(Self.compatible, fixed: 48)
        writer.put(UInt64(pools.count))
        for pool in pools {
            writer.put(UInt64(pool.pageSize.order))
            writer.put(pool.persistent)
            writer.put(pool.surplus)
            writer.put(pool.overcommit)
            writer.put(UInt64(pool.nodes.count))
            for (node, count) in pool.nodes.sorted(by: { $0.key < $1.key }) {
                writer.put(UInt64(node))
                writer.put(count)
            }
        }
    }

    init(_ reader: inout ByteReader) throws(ArenaError) {
        let found = try reader.takeString(fixed: 48)
        guard found == Self.compatible else {
            throw ArenaError(.record, "settings \"\(found)\", where only \"\(Self.compatible)\" are known")
        }
        pools = []
        for _ in 0..<(try reader.take(UInt64.self)) { pools.append(try Pool(&reader)) }
    }
}

// SPDX-License-Identifier: Apache-2.0
public import LiveUpdateCore
public import LiveUpdatePlatform
import SystemPackage

/// The live object of ``HugeTLB``: the settings of the pools when the first hugetlb file was preserved.
public final class HugeTLBState: Sendable {
    /// The settings at that time.
    public let settings: HugeTLBSettings
    private let preserved: HugeTLBRecord

    init(settings: HugeTLBSettings, preserved: HugeTLBRecord) {
        self.settings = settings
        self.preserved = preserved
    }

    /// The number of huge pages of a size that came with the files of the previous boot; 0 in the boot that preserves
    /// them.
    public func pagesPreserved(of size: PageSize) -> UInt64 { preserved.pages(of: size) }

    /// A setting that has changed.
    public struct Change: Equatable, Sendable, CustomStringConvertible {
        /// The kind of a setting.
        public enum Setting: Equatable, Sendable {
            /// `nr_hugepages`, without the surplus ones
            case persistent
            /// The persistent pages of one NUMA node.
            case persistentOnNode(Int)
            /// `nr_overcommit_hugepages`
            case overcommit
        }

        /// The page size of the pool.
        public let pageSize: PageSize
        /// The setting of the pool.
        public let setting: Setting
        /// The old value in pages.
        public let was: UInt64
        /// The present value in pages.
        public let now: UInt64
        /// The value that mending writes, in pages. It is never below the preserved pages.
        public let mended: UInt64

        public var description: String {
            let name =
                switch setting {
                case .persistent: "nr_hugepages"
                case .persistentOnNode(let node): "nr_hugepages of node \(node)"
                case .overcommit: "nr_overcommit_hugepages"
                }
            return "\(pageSize) pages: \(name) was \(was) and is \(now); mending would write \(mended)"
        }
    }

    /// The settings that have changed. They matter to an administrator, because pages above the persistent number
    /// vanish from the pool when they are freed.
    ///
    /// - Throws: the errors of reading /sys/kernel/mm/hugepages.
    public func changes() throws(LiveUpdateError) -> [Change] {
        let present: HugeTLBSettings
        do {
            present = HugeTLBSettings(try HugePagePool.all())
        } catch {
            throw LiveUpdateError(error, "reading the huge page pools")
        }
        return settings.pools.flatMap { was -> [Change] in
            let now = present.pools.first { $0.pageSize == was.pageSize }
            return changes(was, now)
        }
    }

    private func changes(_ was: HugeTLBSettings.Pool, _ now: HugeTLBSettings.Pool?) -> [Change] {
        let least = preserved.pages(of: was.pageSize)
        var changes: [Change] = []
        func compare(_ setting: Change.Setting, _ before: UInt64, _ after: UInt64, least: UInt64) {
            guard before != after else { return }
            changes.append(
                Change(
                    pageSize: was.pageSize, setting: setting, was: before, now: after, mended: max(before, least)))
        }
        compare(.persistent, was.persistent, now?.persistent ?? 0, least: least)
        compare(.overcommit, was.overcommit, now?.overcommit ?? 0, least: 0)
        if was.nodes.count > 1 {
            for (node, count) in was.nodes.sorted(by: { $0.key < $1.key }) {
                compare(.persistentOnNode(node), count, now?.nodes[node] ?? 0, least: 0)
            }
        }
        return changes
    }

    /// Sets the changed settings back.
    ///
    /// - Throws: EACCES or EPERM without the right to do so, and the other errors of sysfs.
    func mend() throws(LiveUpdateError) {
        for change in try changes() {
            do throws(SystemCallError) {
                switch change.setting {
                case .persistent: try HugePagePool.setPersistent(change.mended, of: change.pageSize)
                case .persistentOnNode(let node):
                    try HugePagePool.setPersistent(change.mended, of: change.pageSize, node: node)
                case .overcommit: try HugePagePool.setOvercommit(change.mended, of: change.pageSize)
                }
            } catch {
                throw LiveUpdateError(error, "mending the pool of \(change.pageSize) pages")
            }
        }
    }
}

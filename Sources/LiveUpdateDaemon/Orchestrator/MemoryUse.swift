// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// The memory of one file.
struct MemoryUse: Equatable, Sendable {
    var file: FileIdentity
    /// `PageSize.base` for ordinary memory files.
    var pageSize: PageSize
    /// The number of allocated bytes.
    var bytes: UInt64

    init(_ file: FileIdentity, _ pageSize: PageSize, _ bytes: UInt64) {
        self.file = file
        self.pageSize = pageSize
        self.bytes = bytes
    }

    /// Measures a file.
    ///
    /// - Returns: nil for a descriptor that is not a file of tmpfs or hugetlbfs.
    init?(of descriptor: FileDescriptor) {
        // Only these file systems have seals. No other file system is asked, because it may not answer.
        guard (try? descriptor.hasSeals()) == true, let kind = try? FileSystemKind(of: descriptor),
            let status = try? FileStatus(cached: descriptor)
        else { return nil }
        switch kind {
        case .tmpfs: self.init(status.identity, .base, status.allocated)
        case .hugetlbfs(let bytes):
            guard let size = PageSize(bytes: bytes) else { return nil }
            self.init(status.identity, size, status.allocated)
        case .other: return nil
        }
    }
}

/// The memory of the files that are held for each user. A file in several slots of a user counts once. It does no I/O.
struct MemoryLedger: Sendable {
    private struct Account: Hashable {
        var user: SessionUser
        var pageSize: PageSize
    }

    private struct Entry {
        var bytes: UInt64
        /// The number of the user's slots with the file.
        var slots: Int
    }

    private var files: [Account: [FileIdentity: Entry]] = [:]
    private var totals: [Account: UInt64] = [:]

    /// Adds a file that was put into a slot.
    mutating func add(_ use: MemoryUse, of user: SessionUser) {
        let account = Account(user: user, pageSize: use.pageSize)
        set(use, account, slots: (files[account]?[use.file]?.slots ?? 0) + 1)
    }

    /// Removes a file that was released from a slot.
    mutating func remove(_ use: MemoryUse, of user: SessionUser) {
        let account = Account(user: user, pageSize: use.pageSize)
        guard let entry = files[account]?[use.file] else { return }
        set(MemoryUse(use.file, use.pageSize, entry.bytes), account, slots: entry.slots - 1)
    }

    /// Notes the current bytes of a file that is in some slot.
    mutating func note(_ use: MemoryUse, of user: SessionUser) {
        let account = Account(user: user, pageSize: use.pageSize)
        guard let entry = files[account]?[use.file] else { return }
        set(use, account, slots: entry.slots)
    }

    private mutating func set(_ use: MemoryUse, _ account: Account, slots: Int) {
        let before = files[account]?[use.file]?.bytes ?? 0
        let after = slots > 0 ? use.bytes : 0
        // A file system can return any number, so this must not overflow.
        let total = ((totals[account] ?? 0) &- before).addingReportingOverflow(after)
        totals[account] = total.overflow ? .max : total.partialValue
        files[account, default: [:]][use.file] = slots > 0 ? Entry(bytes: use.bytes, slots: slots) : nil
        guard files[account]?.isEmpty == true else { return }
        files[account] = nil
        totals[account] = nil
    }

    /// The bytes of a user's files with pages of a size.
    func bytes(of user: SessionUser, _ pageSize: PageSize) -> UInt64 {
        totals[Account(user: user, pageSize: pageSize)] ?? 0
    }

    /// The bytes of a user's files, including one more.
    func bytes(of user: SessionUser, with use: MemoryUse) -> UInt64 {
        let account = Account(user: user, pageSize: use.pageSize)
        let others = (totals[account] ?? 0) &- (files[account]?[use.file]?.bytes ?? 0)
        let (sum, isTooLarge) = others.addingReportingOverflow(use.bytes)
        return isTooLarge ? .max : sum
    }

    /// The memory of all users, in bytes by page size.
    var all: [SessionUser: [PageSize: UInt64]] {
        var all: [SessionUser: [PageSize: UInt64]] = [:]
        for (account, bytes) in totals { all[account.user, default: [:]][account.pageSize] = bytes }
        return all
    }
}

/// The memory of this machine.
struct MachineMemory: Equatable, Sendable {
    var bytes: UInt64
    var hugePages: [PageSize: UInt64]

    /// The machine's memory, and its pools if the default limit on pages of this size needs them. The pools can change
    /// at any time.
    static func now(for pageSize: PageSize, _ quota: Quota) -> MachineMemory {
        guard quota.isOpenToEverybody else { return MachineMemory(bytes: 0, hugePages: [:]) }
        guard pageSize != .base, quota.memory.hugePages[pageSize] == nil else {
            return MachineMemory(bytes: physicalMemory, hugePages: [:])
        }
        let pools = (try? HugePagePool.all()) ?? []
        return MachineMemory(
            bytes: physicalMemory, hugePages: Dictionary(pools.map { ($0.pageSize, $0.total) }) { first, _ in first })
    }

    private static let physicalMemory = LiveUpdatePlatform.physicalMemory()
}

extension MemoryLimits {
    /// The most bytes that a user's files with pages of a size may have; nil: no limit.
    ///
    /// Without an option there is no limit if only luod's user, root or a group can connect. If all users can, the
    /// limit is a quarter of the machine's memory, and of the pool of huge pages.
    func most(_ pageSize: PageSize, isOpenToEverybody: Bool, _ machine: MachineMemory) -> UInt64? {
        if pageSize == .base { return bytes ?? (isOpenToEverybody ? machine.bytes / 4 : nil) }
        let pages = hugePages[pageSize] ?? (isOpenToEverybody ? (machine.hugePages[pageSize] ?? 0) / 4 : nil)
        return pages.map { $0 * pageSize.bytes }
    }

    /// Whether any user has a limit.
    func limits(isOpenToEverybody: Bool) -> Bool { isOpenToEverybody || bytes != nil || !hugePages.isEmpty }
}

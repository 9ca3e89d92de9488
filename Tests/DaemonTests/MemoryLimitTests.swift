// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import Testing

@testable import LiveUpdateDaemon

/// The memory of a user's files, and its limits.
@Suite struct MemoryLimitTests {
    private func use(_ inode: UInt64, _ bytes: UInt64, _ size: PageSize = .base) -> MemoryUse {
        MemoryUse(FileIdentity(device: 1, inode: inode), size, bytes)
    }

    @Test("A file counts once for each user, with its last size, until its last slot is released") func ledger() {
        var ledger = MemoryLedger()
        ledger.add(use(1, 100), of: 7)
        ledger.add(use(1, 150), of: 7)
        ledger.add(use(2, 10), of: 7)
        ledger.add(use(1, 150), of: 8)
        ledger.add(use(3, 2 << 20, .huge2M), of: 7)
        #expect(ledger.bytes(of: 7, .base) == 160)
        #expect(ledger.bytes(of: 8, .base) == 150)
        #expect(ledger.bytes(of: 7, .huge2M) == 2 << 20)
        ledger.note(use(1, 1000), of: 7)
        #expect(ledger.bytes(of: 7, .base) == 1010)
        #expect(ledger.bytes(of: 7, with: use(1, 2000)) == 2010, "the file is held already")
        #expect(ledger.bytes(of: 7, with: use(9, 2000)) == 3010)
        ledger.remove(use(1, 100), of: 7)
        #expect(ledger.bytes(of: 7, .base) == 1010)
        ledger.remove(use(1, 150), of: 7)
        #expect(ledger.bytes(of: 7, .base) == 10)
        for (file, user) in [(use(2, 10), 7), (use(3, 0, .huge2M), 7), (use(1, 0), 8)] as [(MemoryUse, UInt32)] {
            ledger.remove(file, of: user)
        }
        #expect(ledger.all.isEmpty)
    }

    @Test("No number overflows") func overflow() {
        var ledger = MemoryLedger()
        ledger.add(use(1, .max), of: 7)
        #expect(ledger.bytes(of: 7, with: use(2, .max)) == .max)
        ledger.add(use(2, .max), of: 7)
        #expect(ledger.bytes(of: 7, .base) == .max)
    }

    /// Options, the socket, and the limits in bytes.
    struct Case: Sendable {
        var bytes: UInt64?
        var pages: [PageSize: UInt64] = [:]
        var isOpen = false
        var base: UInt64?
        var huge: UInt64?
    }

    @Test(
        "Without an option a user has a limit only if every user can connect",
        arguments: [
            Case(), Case(isOpen: true, base: 1000, huge: 25 << 21),
            Case(bytes: 5, base: 5), Case(bytes: 5, isOpen: true, base: 5, huge: 25 << 21),
            Case(pages: [.huge2M: 3], huge: 3 << 21),
            Case(pages: [.huge2M: 3], isOpen: true, base: 1000, huge: 3 << 21),
            Case(pages: [.huge1G: 3]),
        ]) func defaults(_ one: Case)
    {
        var limits = MemoryLimits()
        limits.bytes = one.bytes
        limits.hugePages = one.pages
        let machine = MachineMemory(bytes: 4000, hugePages: [.huge2M: 100])
        #expect(limits.most(.base, isOpenToEverybody: one.isOpen, machine) == one.base)
        #expect(limits.most(.huge2M, isOpenToEverybody: one.isOpen, machine) == one.huge)
        #expect(limits.limits(isOpenToEverybody: one.isOpen) == (one.isOpen || one.bytes != nil || !one.pages.isEmpty))
    }

    @Test("Root has no limit, and other users may have exactly as much as theirs") func exceeded() {
        var limits = MemoryLimits()
        limits.bytes = 100
        let quota = Quota(mostOfProcess: 100, mostOfUser: 100, memory: limits)
        let none = MachineMemory(bytes: 0, hugePages: [:])
        #expect(quota.exceededMemory(of: 7, isUnlimited: false, 100, .base, none) == nil)
        #expect(quota.exceededMemory(of: 7, isUnlimited: false, 101, .base, none) == 100)
        #expect(quota.exceededMemory(of: 7, isUnlimited: true, 101, .base, none) == nil)
        #expect(quota.exceededMemory(of: 0, isUnlimited: false, 101, .base, none) == nil)
    }

    @Test(
        "Numbers of huge pages are read by page size",
        arguments: [
            ("2M=512,1G=2", [.huge2M: 512, .huge1G: 2]), ("2M=0", [.huge2M: 0]), ("2048K=1", [.huge2M: 1]), ("", nil),
            ("2M", nil), ("2M=", nil), ("=1", nil), ("3M=1", nil), ("4K=1", nil), ("2M=-1", nil), ("2M=1,", nil),
            ("2M=1,2048K=2", nil), ("2M=1=2", nil), ("2M=9999999999", nil),
        ] as [(String, [PageSize: UInt64]?)]) func text(_ text: String, _ expected: [PageSize: UInt64]?)
    {
        #expect(MemoryLimits.hugePages(text) == expected)
    }
}

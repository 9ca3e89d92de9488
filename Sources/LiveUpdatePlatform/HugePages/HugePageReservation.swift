// SPDX-License-Identifier: Apache-2.0
import Glibc
import SystemPackage

/// Takes huge pages into a pool and gives them back. Changes are relative to the current number, and are made under a
/// lock file, because other programs change pools, too. scripts/with-huge-pages locks the same file.
package enum HugePageReservation {
    static let lockPath = "/run/lock/liveupdate-hugepages.lock"
    /// Memory that is left to all other uses, in bytes.
    package static let spare: UInt64 = 1 << 30

    /// A change of a number that is about to be made, with the lock held.
    package struct Step: Equatable, Sendable {
        /// The pages to give back if this step is not made.
        package let held: UInt64
        /// The number before the change: persistent pages, or pages that may be taken beyond the pool.
        package let before: UInt64
        /// The number after the change.
        package let after: UInt64
    }

    /// Notes a step before it is made, so that the process can be killed at any moment.
    package typealias Noting = (Step) throws(SystemCallError) -> Void

    /// Makes sure that `count` pages are available, if that is possible.
    ///
    /// - Returns: how many pages were added to the pool, and must be given back.
    /// - Throws: EACCES without the right, ENOENT for a size that the kernel does not have, ENOMEM when memory is
    ///   missing or fragmented. Nothing was changed then.
    package static func take(
        _ count: UInt64, of size: PageSize, noting: Noting = { _ in }
    ) throws(SystemCallError) -> UInt64 {
        // All programs may use available pages, also without the right to change or to lock the pool.
        if try HugePagePool(size).available >= count { return 0 }
        // This check comes before the lock file is made: with fs.protected_regular, root cannot lock the file of an
        // ordinary user.
        try HugePagePool.checkRight(toChange: size)
        return try underLock { () throws(SystemCallError) in try takeLocked(count, of: size, noting) }
    }

    private static func takeLocked(
        _ count: UInt64, of size: PageSize, _ noting: Noting
    ) throws(SystemCallError) -> UInt64 {
        let before = try HugePagePool(size)
        guard before.available < count else { return 0 }
        let missing = count - before.available
        guard try availableMemory() >= spare + missing * size.bytes else {
            throw SystemCallError("write", .noMemory)
        }
        // The new number is based on the total: the kernel first turns surplus pages, which are in use, into persistent
        // ones.
        let wanted = before.total + missing
        try noting(Step(held: 0, before: before.persistent, after: wanted))
        try HugePagePool.setPersistent(wanted, of: size)
        let after = try HugePagePool(size)
        let taken = after.persistent - min(before.persistent, after.persistent)
        guard after.available >= count else {
            try noting(Step(held: taken, before: after.persistent, after: after.persistent - taken))
            try HugePagePool.setPersistent(after.persistent - taken, of: size)
            throw SystemCallError("write", .noMemory)
        }
        return taken
    }

    /// Makes a pool smaller again. Pages that are in use leave it when they are freed.
    ///
    /// - Throws: EACCES without the right.
    package static func giveBack(
        _ count: UInt64, of size: PageSize, noting: Noting = { _ in }
    ) throws(SystemCallError) {
        guard count > 0 else { return }
        try underLock { () throws(SystemCallError) in
            let now = try HugePagePool(size).persistent
            let left = now - min(count, now)
            try noting(Step(held: count, before: now, after: left))
            try HugePagePool.setPersistent(left, of: size)
        }
    }

    /// Changes how many pages of a size may be taken beyond the pool, relative to the current number.
    ///
    /// - Throws: EACCES without the right, EINVAL for a size that has no such number (1 GiB).
    package static func changeOvercommit(
        of size: PageSize, by difference: Int64, noting: Noting = { _ in }
    ) throws(SystemCallError) {
        try HugePagePool.checkRight(toChange: size)
        try underLock { () throws(SystemCallError) in
            let now = try HugePagePool(size).overcommit
            let wanted = Self.changed(now, by: difference)
            try noting(Step(held: difference < 0 ? difference.magnitude : 0, before: now, after: wanted))
            try HugePagePool.setOvercommit(wanted, of: size)
        }
    }

    /// A number of pages after a change, at least 0 and without an overflow: the kernel accepts every 64-bit number as
    /// the limit on overcommitted pages.
    static func changed(_ now: UInt64, by difference: Int64) -> UInt64 {
        if difference < 0 { return now - min(difference.magnitude, now) }
        let (sum, isTooLarge) = now.addingReportingOverflow(difference.magnitude)
        return isTooLarge ? .max : sum
    }

    /// Runs `body` under the lock file. The lock is that of flock(2), as in scripts/with-huge-pages. Locks of fcntl(2)
    /// would not exclude that script.
    static func underLock<Value>(_ body: () throws(SystemCallError) -> Value) throws(SystemCallError) -> Value {
        let number = try systemCall("open") { unsafe open(lockPath, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0o600) }
        let file = OwnedDescriptor(taking: FileDescriptor(rawValue: number))
        try systemCall("flock") { flock(file.borrowed.rawValue, LOCK_EX) }
        defer { _ = flock(file.borrowed.rawValue, LOCK_UN) }
        return try body()
    }
}

// SPDX-License-Identifier: Apache-2.0
import Glibc
package import SystemPackage

/// Huge pages that a process has reserved for a while, and noted in a file. If the process is killed, another process
/// finds the file and gives the pages back.
///
/// 1. ``take(_:of:_:notingIn:)`` makes the file and locks it (flock(2)) as long as the process lives.
/// 2. Before each change of the pool the process notes the numbers before and after the change. If it is killed during
///    the change, the current number tells whether the change was made. If others have changed the pool since, the
///    change counts as made only as far as the current number shows it.
/// 3. ``giveBack()`` removes the file. If the process ended before that, ``settle(_:)`` does it.
package struct HugePageLoan: ~Copyable {
    /// The number that was raised.
    package enum Kind: String, Sendable {
        /// `nr_hugepages`
        case pages
        /// `nr_overcommit_hugepages`
        case overcommit
    }

    /// How many pages the loan must give back.
    package let count: UInt64
    private let size: PageSize
    private let kind: Kind
    private let path: FilePath
    private let file: OwnedDescriptor

    /// Makes sure that `count` pages are available, or that as many more may be taken beyond the pool.
    ///
    /// - Throws: EEXIST when a file of that name exists; the errors of ``HugePageReservation``. Nothing was changed
    ///   then.
    package static func take(
        _ count: UInt64, of size: PageSize, _ kind: Kind = .pages, notingIn path: FilePath
    ) throws(SystemCallError) -> HugePageLoan {
        let file = try makeFile(path)
        let descriptor = file.borrowed
        do throws(SystemCallError) {
            try systemCall("flock") { flock(descriptor.rawValue, LOCK_EX | LOCK_NB) }
            var taken = count
            func note(_ step: HugePageReservation.Step) throws(SystemCallError) {
                try Note(size: size, kind: kind, step: step).write(to: descriptor)
            }
            switch kind {
            case .pages: taken = try HugePageReservation.take(count, of: size, noting: note)
            case .overcommit:
                try HugePageReservation.changeOvercommit(of: size, by: Int64(clamping: count), noting: note)
            }
            try note(HugePageReservation.Step(held: taken, before: 0, after: 0))
            return HugePageLoan(count: taken, size: size, kind: kind, path: path, file: file)
        } catch {
            try? removeFile(path)
            throw error
        }
    }

    /// Gives the pages back, and removes the file.
    ///
    /// - Throws: EACCES without the right. The file stays then.
    package consuming func giveBack() throws(SystemCallError) {
        _ = try Note(size: size, kind: kind, step: HugePageReservation.Step(held: count, before: 0, after: 0))
            .giveBack(notingIn: file.borrowed)
        try removeFile(path)
    }

    /// Waits for the end of the process that made this file, and gives back the pages that the file notes.
    ///
    /// - Returns: how many pages were given back.
    /// - Throws: EACCES without the right, EINVAL when the file is no such note. The file stays then.
    package static func settle(_ path: FilePath) throws(SystemCallError) -> UInt64 {
        guard let found = try? findFile(path) else { return 0 }
        let file = try found.borrowed.reopened(.readWrite)
        try systemCall("flock") { flock(file.borrowed.rawValue, LOCK_EX) }
        guard try FileStatus(of: file.borrowed).links > 0 else { return 0 }
        let count = try Note(from: file.borrowed)?.giveBack(notingIn: file.borrowed) ?? 0
        try removeFile(path)
        return count
    }
}

/// The only line of the file: `ORDER KIND HELD BEFORE AFTER`.
private struct Note {
    let size: PageSize
    let kind: HugePageLoan.Kind
    let step: HugePageReservation.Step

    init(size: PageSize, kind: HugePageLoan.Kind, step: HugePageReservation.Step) {
        self.size = size
        self.kind = kind
        self.step = step
    }

    /// Reads the file; nil when it is empty, because its process was killed before it changed anything.
    init?(from file: FileDescriptor) throws(SystemCallError) {
        let text = try readText(file, atMost: 256)
        if text.isEmpty { return nil }
        let words = text.prefix { $0 != "\n" }.split(separator: " ")
        let numbers = words.compactMap { UInt64($0) }
        guard words.count == 5, numbers.count == 4, numbers.allSatisfy({ $0 < 1 << 40 }),
            let order = UInt8(exactly: numbers[0]), order < 52,
            let kind = HugePageLoan.Kind(rawValue: String(words[1]))
        else { throw SystemCallError("read", .invalidArgument) }
        self.init(
            size: PageSize(order: order), kind: kind,
            step: HugePageReservation.Step(held: numbers[1], before: numbers[2], after: numbers[3]))
    }

    /// Writes the line with one pwrite(2): a signal does not cut so short a write.
    func write(to file: FileDescriptor) throws(SystemCallError) {
        let text = "\(size.order) \(kind.rawValue) \(step.held) \(step.before) \(step.after)\n"
        try systemCall("pwrite") { unsafe pwrite(file.rawValue, text, text.utf8.count, 0) }
    }

    /// - Returns: how many pages were given back.
    func giveBack(notingIn file: FileDescriptor) throws(SystemCallError) -> UInt64 {
        func note(_ step: HugePageReservation.Step) throws(SystemCallError) {
            try Note(size: size, kind: kind, step: step).write(to: file)
        }
        let count = try outstanding
        switch kind {
        case .pages: try HugePageReservation.giveBack(count, of: size, noting: note)
        case .overcommit:
            try HugePageReservation.changeOvercommit(of: size, by: -Int64(count), noting: note)
        }
        return count
    }

    /// The number of pages to give back. It includes the last step, as far as that was made.
    private var outstanding: UInt64 {
        get throws(SystemCallError) {
            guard step.before != step.after else { return step.held }
            let pool = try HugePagePool(size)
            let now = kind == .pages ? pool.persistent : pool.overcommit
            let made = min(max(now, min(step.before, step.after)), max(step.before, step.after))
            return step.held + made - min(step.before, step.held + made)
        }
    }
}

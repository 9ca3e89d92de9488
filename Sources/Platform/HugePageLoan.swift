import Glibc
public import SystemPackage

/// Huge pages that a process has reserved for a while, and noted in a file: when it is killed, whoever finds the file
/// gives them back.
///
/// 1. The process makes the file and locks it (flock(2)) as long as it lives: ``take(_:of:_:notingIn:)``.
/// 2. Before each change of the pool it notes what the pool has and what it is to have. So also a change in whose middle
///    the process was killed is known to be made or not, unless others have changed the pool since: then it is taken for
///    made as far as the pool looks like it, and never further.
/// 3. ``giveBack()`` removes the file. Where that never came, ``settle(_:)`` does it.
public struct HugePageLoan: ~Copyable {
    /// The number that was raised.
    public enum Kind: String, Sendable {
        /// `nr_hugepages`
        case pages
        /// `nr_overcommit_hugepages`
        case overcommit
    }

    /// How many pages are to be given back.
    public let count: UInt64
    private let size: PageSize
    private let kind: Kind
    private let path: FilePath
    private let file: OwnedDescriptor

    /// Sees to it that `count` pages are available, or that as many more may be taken beyond the pool.
    ///
    /// - Throws: EEXIST when there is a file of that name, what ``HugePageReservation`` throws; nothing was changed then.
    public static func take(
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

    /// Gives them back, and removes the file.
    ///
    /// - Throws: EACCES without the right; the file stays then.
    public consuming func giveBack() throws(SystemCallError) {
        _ = try Note(size: size, kind: kind, step: HugePageReservation.Step(held: count, before: 0, after: 0))
            .giveBack(notingIn: file.borrowed)
        try removeFile(path)
    }

    /// Waits for the end of the process that made this file, and gives back what it had noted and could not give back
    /// itself.
    ///
    /// - Returns: how many pages.
    /// - Throws: EACCES without the right, EINVAL when the file is no such note: it stays then.
    public static func settle(_ path: FilePath) throws(SystemCallError) -> UInt64 {
        guard let found = try? findFile(path) else { return 0 }
        let file = try found.borrowed.reopened(.readWrite)
        try systemCall("flock") { flock(file.borrowed.rawValue, LOCK_EX) }
        guard try FileStatus(of: file.borrowed).links > 0 else { return 0 }
        let count = try Note(from: file.borrowed)?.giveBack(notingIn: file.borrowed) ?? 0
        try removeFile(path)
        return count
    }
}

/// The one line that the file has: `ORDER KIND HELD BEFORE AFTER`.
private struct Note {
    let size: PageSize
    let kind: HugePageLoan.Kind
    let step: HugePageReservation.Step

    init(size: PageSize, kind: HugePageLoan.Kind, step: HugePageReservation.Step) {
        self.size = size
        self.kind = kind
        self.step = step
    }

    /// Nil for an empty file: its process was killed before it changed anything.
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

    /// At once: so short a write(2) is not cut by a signal.
    func write(to file: FileDescriptor) throws(SystemCallError) {
        let text = "\(size.order) \(kind.rawValue) \(step.held) \(step.before) \(step.after)\n"
        try systemCall("pwrite") { unsafe pwrite(file.rawValue, text, text.utf8.count, 0) }
    }

    /// - Returns: how many were given back.
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

    /// What is to be given back, with the last step as far as it was made.
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

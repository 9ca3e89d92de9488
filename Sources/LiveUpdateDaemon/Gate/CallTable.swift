// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// The records of the calls that a gate has taken (``CallRecord``), in memory that outlives the gate. Each thread of
/// the gate has one. If a record is not empty when a gate begins, the gate before it has not answered the call
/// (``RecoveredCall``). A u64 before the records is the number of records that were ever used. No other record is read,
/// so that the memory stays small. Space is allocated before a record is used, so that no store causes a SIGBUS when
/// the file system is full.
@safe
final class CallTable: Sendable {
    private static let stride = CallRecord.stride
    private static let places = 65536

    /// The unit in which space is allocated, in bytes.
    private static let piece: UInt64 = 64 << 10

    private let memory: FileDescriptor
    private let mapping: Mapping
    private let free: Guarded<Free>

    private struct Free: Sendable {
        var places: [Int] = []
        /// The number of places that were ever used. The memory has it, too.
        var used = 0
        /// The number of allocated bytes of the memory.
        var allocated: UInt64 = 0
    }

    /// The largest size of the memory, in bytes.
    static let size = UInt64(stride * places)

    /// - Parameter memory: this process owns the memory and locks it until it ends. The memory is never closed.
    /// - Throws: EAGAIN when another gate uses the memory; ENOSPC when the file system is full, EFBIG beyond
    ///   RLIMIT_FSIZE.
    init(_ memory: FileDescriptor) throws(SystemCallError) {
        try memory.lockForProcess()
        self.memory = memory
        let used = try Self.used(of: memory)
        let allocated = try Self.reserve(memory, used)
        mapping = try Mapping(of: memory, length: Self.size, .shared(writable: true))
        free = Guarded(Free())
        let empty = (0..<used).filter { CallPlace(self, $0).notification == nil }
        free.with { $0 = Free(places: empty, used: used, allocated: allocated) }
    }

    /// The number of places of a memory that were ever used; 0 for an empty file.
    private static func used(of memory: FileDescriptor) throws(SystemCallError) -> Int {
        let word = try memory.bytes(at: 0, count: 8)
        return min(Int(clamping: word.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }), places - 1)
    }

    /// Allocates the space of the places that were ever used, and of a few more.
    ///
    /// - Returns: the number of allocated bytes.
    /// - Throws: ENOSPC when the file system is full, EFBIG beyond RLIMIT_FSIZE.
    @discardableResult
    static func reserve(_ memory: FileDescriptor, _ used: Int = 0) throws(SystemCallError) -> UInt64 {
        let needed = UInt64((used + 1) * stride)
        let length = (needed + piece - 1) / piece * piece
        try memory.allocate(offset: 0, length: length)
        return length
    }

    /// Copies the records of a memory that were ever used to another memory, which must be empty.
    static func copy(_ old: FileDescriptor, to new: FileDescriptor) throws(SystemCallError) {
        let used = try used(of: old)
        try reserve(new, used)
        let from = try Mapping(of: old, length: size, .shared(writable: false))
        let into = try Mapping(of: new, length: size, .shared(writable: true))
        unsafe into.bytes.copyMemory(from: UnsafeRawBufferPointer(rebasing: from.bytes.prefix((used + 1) * stride)))
    }

    /// The calls that were taken and not answered. Read this before any place is taken.
    var left: [CallPlace] {
        let (free, used) = free.with { (Set($0.places), $0.used) }
        return (0..<used).filter { !free.contains($0) }.map { CallPlace(self, $0) }
    }

    /// Takes a place for a thread; nil when there are too many threads, or when the file system is full.
    func take() -> CallPlace? {
        free.with { free in
            if let place = free.places.popLast() { return CallPlace(self, place) }
            guard free.used < Self.places - 1, makeRoom(&free) else { return nil }
            free.used += 1
            unsafe mapping.bytes.storeBytes(of: free.used, as: Int.self)
            return CallPlace(self, free.used - 1)
        }
    }

    /// Allocates the space of the next place.
    private func makeRoom(_ free: inout Free) -> Bool {
        guard UInt64((free.used + 2) * Self.stride) > free.allocated else { return true }
        guard (try? memory.allocate(offset: free.allocated, length: Self.piece)) != nil else { return false }
        free.allocated += Self.piece
        return true
    }

    /// Makes a place available to another thread.
    func giveBack(_ index: Int) { free.with { $0.places.append(index) } }

    /// The address of a record.
    @unsafe
    func address(_ index: Int) -> UnsafeMutableRawPointer {
        // SAFETY: inside the mapping, which lives as long as this object.
        unsafe mapping.bytes.baseAddress.unsafelyUnwrapped + (index + 1) * Self.stride
    }
}

import LiveUpdate
import Platform
import SystemPackage

/// A call that a gate has taken, as it is in the memory that outlives the gate (``CallTable``). This is the only declaration
/// of the layout: the kernel writes the notification, at the beginning, and behind it is the progress of the call. All zero
/// means that no call was taken.
enum CallRecord {
    /// The bytes from one record to the next.
    static let stride = 512
    /// The bytes that the kernel may write.
    static let notificationLength = 256

    /// The progress of a call. A gate stores each field before it does what the field tells, or right after it.
    struct Progress: BitwiseCopyable {
        /// The slot of the listener that the call came from.
        var listener: Int64 = 0
        /// The tag of the request that was made for the call; 0: none yet.
        var tag: UInt64 = 0
        /// The number of the descriptor that the caller was given for the call, plus one; 0: none yet.
        var given: UInt64 = 0
        /// The inode of the socket that is being given; 0: none, or no socket. It is stored before the socket is given: a gate
        /// that dies then has not stored its number.
        var socket: UInt64 = 0
        /// The cookie of the socket that the request is made on, stored before the tag.
        var cookie: UInt64 = 0
        /// The result of the request, an errno or 0 for success, plus one; 0: not known.
        var result: UInt64 = 0
    }
}

/// Memory for the calls that a gate has taken, which outlives the gate: a record for each of its threads. A record that is not
/// empty when a gate begins is a call that the gate before has not answered. A u64 before the records says how many were ever
/// used: no other record is looked at, so that the memory is as small as it can be. Space is allocated before a record is used,
/// so that no store is a SIGBUS when the file system is full.
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
        /// How many were ever used, in the memory, too.
        var used = 0
        /// How many bytes of the memory are allocated.
        var allocated: UInt64 = 0
    }

    /// The largest size of the memory, in bytes.
    static let size = UInt64(stride * places)

    /// - Parameter memory: is this process's from now on, and locked until it ends: it is never closed.
    /// - Throws: EAGAIN when another gate has the memory; ENOSPC when the file system is full, EFBIG beyond
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

    /// How many places of a memory were ever used: 0 for an empty file.
    private static func used(of memory: FileDescriptor) throws(SystemCallError) -> Int {
        let word = try memory.bytes(at: 0, count: 8)
        return min(Int(clamping: word.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }), places - 1)
    }

    /// Allocates the space of the places that were ever used, and of some more.
    ///
    /// - Returns: how many bytes are allocated.
    /// - Throws: ENOSPC when the file system is full, EFBIG beyond RLIMIT_FSIZE.
    @discardableResult
    static func reserve(_ memory: FileDescriptor, _ used: Int = 0) throws(SystemCallError) -> UInt64 {
        let needed = UInt64((used + 1) * stride)
        let length = (needed + piece - 1) / piece * piece
        try memory.allocate(offset: 0, length: length)
        return length
    }

    /// Copies what was ever used of one to another, which is empty.
    static func copy(_ old: FileDescriptor, to new: FileDescriptor) throws(SystemCallError) {
        let used = try used(of: old)
        try reserve(new, used)
        let from = try Mapping(of: old, length: size, .shared(writable: false))
        let into = try Mapping(of: new, length: size, .shared(writable: true))
        unsafe into.bytes.copyMemory(from: UnsafeRawBufferPointer(rebasing: from.bytes.prefix((used + 1) * stride)))
    }

    /// What was taken and not answered, before any place is taken.
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

    fileprivate func giveBack(_ index: Int) { free.with { $0.places.append(index) } }

    @unsafe
    fileprivate func address(_ index: Int) -> UnsafeMutableRawPointer {
        // SAFETY: inside the mapping, which lives as long as this does.
        unsafe mapping.bytes.baseAddress.unsafelyUnwrapped + (index + 1) * Self.stride
    }
}

/// A thread's place.
@safe
struct CallPlace: Sendable {
    private let table: CallTable
    private let index: Int

    fileprivate init(_ table: CallTable, _ index: Int) {
        self.table = table
        self.index = index
    }

    @unsafe private var address: UnsafeMutableRawPointer { unsafe table.address(index) }

    // SAFETY: the record has room for it, at a place that is aligned for it, and the table lives as long as this.
    @unsafe private var progress: UnsafeMutablePointer<CallRecord.Progress> {
        unsafe (address + CallRecord.notificationLength).assumingMemoryBound(to: CallRecord.Progress.self)
    }

    /// A number that is 0 or above from its field, which has one more: 0 is a number that is not known.
    private static func known(_ field: UInt64) -> CInt? { field == 0 ? nil : CInt(truncatingIfNeeded: field) - 1 }
    private static func field(_ number: CInt?) -> UInt64 { number.map { UInt64($0) + 1 } ?? 0 }

    var notification: CallNotification? { unsafe NotificationPlace(address).notification }

    /// The listener that the call came from.
    var listener: DescriptorSlot {
        get { DescriptorSlot(unsafe progress.pointee.listener) }
        nonmutating set { unsafe progress.pointee.listener = newValue.number }
    }

    /// The tag of the call's request; 0: none yet.
    var tag: UInt64 {
        get { unsafe progress.pointee.tag }
        nonmutating set { unsafe progress.pointee.tag = newValue }
    }

    /// The number of the descriptor that the caller was given.
    var given: CInt? {
        get { Self.known(unsafe progress.pointee.given) }
        nonmutating set { unsafe progress.pointee.given = Self.field(newValue) }
    }

    /// The inode of the socket that is being given.
    var socket: UInt64 {
        get { unsafe progress.pointee.socket }
        nonmutating set { unsafe progress.pointee.socket = newValue }
    }

    /// The cookie of the socket that the request is made on.
    var cookie: UInt64 {
        get { unsafe progress.pointee.cookie }
        nonmutating set { unsafe progress.pointee.cookie = newValue }
    }

    /// The result of the request, as an errno: 0 for success.
    var result: CInt? {
        get { Self.known(unsafe progress.pointee.result) }
        nonmutating set { unsafe progress.pointee.result = Self.field(newValue) }
    }

    /// Whether its request was begun, and has not come to anything that is known.
    var isUnderWay: Bool { tag != 0 && result == nil }

    /// Takes the next call of a listener.
    func receive(_ listener: FileDescriptor) throws(SystemCallError) -> CallNotification {
        unsafe try listener.receiveCall(into: NotificationPlace(address))
    }

    /// Makes it empty: the call was answered. The listener stays.
    func clear() {
        unsafe NotificationPlace(address).clear()
        tag = 0
        given = nil
        socket = 0
        cookie = 0
        result = nil
    }

    func giveBack() {
        clear()
        table.giveBack(index)
    }
}

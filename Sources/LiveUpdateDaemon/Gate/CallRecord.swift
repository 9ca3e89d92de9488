// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// A call that a gate has taken, in the memory that outlives the gate (``CallTable``). This is the only declaration of
/// the layout: first the notification, which the kernel writes, then the progress of the call. A record of zeros means
/// that no call was taken.
enum CallRecord {
    /// The bytes from one record to the next.
    static let stride = 512
    /// The bytes that the kernel may write.
    static let notificationLength = 256

    /// The progress of a call. A gate stores each field just before or just after the action that the field describes.
    struct Progress: BitwiseCopyable {
        /// The slot of the listener that the call came from.
        var listener: Int64 = 0
        /// The tag of the request for the call; 0: none yet.
        var tag: UInt64 = 0
        /// The number of the descriptor that the caller received for the call, plus one; 0: none yet.
        var given: UInt64 = 0
        /// The inode of the socket that is being given to the caller; 0: none, or no socket. It is stored before the
        /// socket is given. A gate that dies just after giving it has not stored the descriptor number, and the next
        /// gate finds it by the inode.
        var socket: UInt64 = 0
        /// The cookie of the socket of the request, stored before the tag.
        var cookie: UInt64 = 0
        /// The result of the request, as an errno or 0 for success, plus one; 0: not known.
        var result: UInt64 = 0
    }
}

/// The record of a thread, in a ``CallTable``.
@safe
struct CallPlace: Sendable {
    private let table: CallTable
    private let index: Int

    init(_ table: CallTable, _ index: Int) {
        self.table = table
        self.index = index
    }

    @unsafe private var address: UnsafeMutableRawPointer { unsafe table.address(index) }

    // SAFETY: the record has room for the progress at an aligned place, and the table lives as long as this object.
    @unsafe private var progress: UnsafeMutablePointer<CallRecord.Progress> {
        unsafe (address + CallRecord.notificationLength).assumingMemoryBound(to: CallRecord.Progress.self)
    }

    /// The encoding of a number that is at least 0: the number plus one. 0 means that the number is not known.
    private static func known(_ field: UInt64) -> CInt? { field == 0 ? nil : CInt(truncatingIfNeeded: field) - 1 }
    private static func field(_ number: CInt?) -> UInt64 { number.map { UInt64($0) + 1 } ?? 0 }

    /// The call; nil when the record is empty.
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

    /// The number of the descriptor that the caller received.
    var given: CInt? {
        get { Self.known(unsafe progress.pointee.given) }
        nonmutating set { unsafe progress.pointee.given = Self.field(newValue) }
    }

    /// The inode of the socket that is being given to the caller.
    var socket: UInt64 {
        get { unsafe progress.pointee.socket }
        nonmutating set { unsafe progress.pointee.socket = newValue }
    }

    /// The cookie of the socket of the request.
    var cookie: UInt64 {
        get { unsafe progress.pointee.cookie }
        nonmutating set { unsafe progress.pointee.cookie = newValue }
    }

    /// The result of the request, as an errno: 0 for success.
    var result: CInt? {
        get { Self.known(unsafe progress.pointee.result) }
        nonmutating set { unsafe progress.pointee.result = Self.field(newValue) }
    }

    /// Whether the request of the call was begun and its result is not known.
    var isUnderWay: Bool { tag != 0 && result == nil }

    /// Takes the next call of a listener.
    func receive(_ listener: FileDescriptor) throws(SystemCallError) -> CallNotification {
        unsafe try listener.receiveCall(into: NotificationPlace(address))
    }

    /// Makes the record empty, because the call was answered. The listener stays.
    func clear() {
        unsafe NotificationPlace(address).clear()
        tag = 0
        given = nil
        socket = 0
        cookie = 0
        result = nil
    }

    /// Makes the record empty and available to another thread.
    func giveBack() {
        clear()
        table.giveBack(index)
    }
}

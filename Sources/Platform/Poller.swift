import CShims
import Glibc
public import SystemPackage

/// Waits for many descriptors at once: epoll(7). Level-triggered, but for ``Interest/beingRead``.
public struct Poller: ~Copyable, Sendable {
    private let handle: OwnedDescriptor

    /// What a descriptor is waited for; its end is always told.
    public enum Interest: Sendable {
        /// Something to read, or its end.
        case reading
        /// Room to write, or its end.
        case writing
        /// Its end only.
        case ending
        /// An event each time that the peer of a socket has read something, one at the beginning, and one at the peer's
        /// end.
        case beingRead
    }

    /// What happened to one descriptor.
    public struct Event: Sendable {
        /// Which one.
        public let descriptor: FileDescriptor
        /// Something can be read.
        public let isReadable: Bool
        /// Something can be written.
        public let isWritable: Bool
        /// Its peer has closed: what was sent before is still to be read.
        public let hasEnded: Bool
    }

    /// epoll_create1(2).
    ///
    /// - Throws: EMFILE.
    public init() throws(SystemCallError) {
        let number = try systemCall("epoll_create1") { cshims_epoll_create() }
        handle = OwnedDescriptor(taking: FileDescriptor(rawValue: number))
    }

    /// Waits for a descriptor from now on. It is forgotten when its last copy is closed, or with ``remove(_:)``.
    ///
    /// - Throws: EEXIST when it is waited for already, ENOSPC.
    public func add(_ descriptor: FileDescriptor, for interest: Interest) throws(SystemCallError) {
        try control(0, descriptor, interest)
    }

    /// Waits for something else.
    ///
    /// - Throws: ENOENT when it was not waited for.
    public func change(_ descriptor: FileDescriptor, to interest: Interest) throws(SystemCallError) {
        try control(1, descriptor, interest)
    }

    /// Does not wait for it any more.
    public func remove(_ descriptor: FileDescriptor) { try? control(2, descriptor, .ending) }

    private func control(
        _ change: CInt, _ descriptor: FileDescriptor, _ interest: Interest
    ) throws(SystemCallError) {
        let handle = handle.borrowed.rawValue
        let isWriting = interest == .writing || interest == .beingRead
        try systemCall("epoll_ctl") {
            cshims_epoll_control(
                handle, descriptor.rawValue, change, interest == .reading ? 1 : 0, isWriting ? 1 : 0,
                interest == .beingRead ? 1 : 0)
        }
    }

    /// One thing that has happened, each in turn; nil when that takes too long. For who closes, or opens, descriptors on the
    /// way: all events of one ``wait(_:)`` would have their numbers as they were.
    ///
    /// - Parameter milliseconds: -1 waits for ever.
    /// - Throws: EBADF.
    public func next(_ milliseconds: CInt) throws(SystemCallError) -> Event? {
        var found = cshims_event()
        let handle = handle.borrowed.rawValue
        let count = try systemCall("epoll_wait") { unsafe cshims_epoll_wait(handle, &found, 1, milliseconds) }
        return count > 0 ? Event(found) : nil
    }

    /// Everything that has happened, or nothing when that takes too long.
    ///
    /// - Parameter milliseconds: -1 waits for ever.
    /// - Throws: EBADF.
    public func wait(_ milliseconds: CInt) throws(SystemCallError) -> [Event] {
        var events: [Event] = []
        var timeout = milliseconds
        while true {
            let before = events.count
            try wait(timeout, adding: &events)
            // A full answer may not be all: the kernel goes on with the next ones, and begins again after the last.
            if events.count < before + Self.most || events.count >= 64 * Self.most { return events }
            timeout = 0
        }
    }

    /// At a time.
    private static let most = 1024

    private func wait(_ timeout: CInt, adding events: inout [Event]) throws(SystemCallError) {
        let handle = handle.borrowed.rawValue
        try unsafe withUnsafeTemporaryAllocation(of: cshims_event.self, capacity: Self.most) {
            (found) throws(SystemCallError) in
            let count = try systemCall("epoll_wait") {
                unsafe cshims_epoll_wait(handle, found.baseAddress, CInt(Self.most), timeout)
            }
            unsafe events += found.prefix(Int(count)).map(Event.init)
        }
    }
}

extension Poller.Event {
    fileprivate init(_ event: cshims_event) {
        descriptor = FileDescriptor(rawValue: event.fd)
        isReadable = event.readable != 0
        isWritable = event.writable != 0
        hasEnded = event.ended != 0
    }
}

// SPDX-License-Identifier: Apache-2.0
import CLiveUpdate
import Glibc
package import SystemPackage

/// Waits for events on many descriptors at once: epoll(7). It is level-triggered, except for ``Interest/beingRead``.
package struct Poller: ~Copyable, Sendable {
    private let handle: OwnedDescriptor

    /// The events to wait for on a descriptor. The end of the descriptor is always reported.
    package enum Interest: Sendable {
        /// Bytes to read, or the end.
        case reading
        /// Room to write, or the end.
        case writing
        /// Only the end.
        case ending
        /// An event each time that the peer of a socket has read something, one at the beginning, and one when the peer
        /// closes.
        case beingRead
    }

    /// An event on one descriptor.
    package struct Event: Sendable {
        /// The descriptor.
        package let descriptor: FileDescriptor
        /// Whether there is something to read.
        package let isReadable: Bool
        /// Whether there is room to write.
        package let isWritable: Bool
        /// Whether the peer has closed. Bytes that the peer sent before can still be read.
        package let hasEnded: Bool
    }

    /// epoll_create1(2).
    ///
    /// - Throws: EMFILE.
    package init() throws(SystemCallError) {
        let number = try systemCall("epoll_create1") { cshims_epoll_create() }
        handle = OwnedDescriptor(taking: FileDescriptor(rawValue: number))
    }

    /// The poller's own descriptor, which is readable while there are events.
    package var descriptor: FileDescriptor { handle.borrowed }

    /// Waits for events of a descriptor from now on, until its last copy is closed or ``remove(_:)`` is called.
    ///
    /// - Throws: EEXIST when the descriptor was added already, ENOSPC.
    package func add(_ descriptor: FileDescriptor, for interest: Interest) throws(SystemCallError) {
        try control(0, descriptor, interest)
    }

    /// Waits for other events of a descriptor.
    ///
    /// - Throws: ENOENT when the descriptor was not added.
    package func change(_ descriptor: FileDescriptor, to interest: Interest) throws(SystemCallError) {
        try control(1, descriptor, interest)
    }

    /// Stops waiting for a descriptor.
    package func remove(_ descriptor: FileDescriptor) { try? control(2, descriptor, .ending) }

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

    /// Waits for one event. Descriptors with events take turns. This method is for callers that close or open
    /// descriptors between events: an event that ``wait(_:)`` returned may name a number that is closed or belongs to
    /// another file by now.
    ///
    /// - Parameter milliseconds: the longest wait; -1 waits for ever.
    /// - Returns: the event; nil when the wait ends without one.
    /// - Throws: EBADF.
    package func next(_ milliseconds: CInt) throws(SystemCallError) -> Event? {
        var found = cshims_event()
        let handle = handle.borrowed.rawValue
        let count = try systemCall("epoll_wait") { unsafe cshims_epoll_wait(handle, &found, 1, milliseconds) }
        return count > 0 ? Event(found) : nil
    }

    /// Waits for events.
    ///
    /// - Parameter milliseconds: the longest wait; -1 waits for ever.
    /// - Returns: the events; none when the wait ends without one.
    /// - Throws: EBADF.
    package func wait(_ milliseconds: CInt) throws(SystemCallError) -> [Event] {
        var events: [Event] = []
        var timeout = milliseconds
        while true {
            let before = events.count
            try wait(timeout, adding: &events)
            // After a full answer there can be more events: the kernel continues with the next descriptors, and begins
            // again after the last.
            if events.count < before + Self.most || events.count >= 64 * Self.most { return events }
            timeout = 0
        }
    }

    /// The most events of one call.
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

// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import SystemPackage

/// The events that the loop waits for, and the work that they cause. It owns the poller and the ``RequestScheduler``.
final class WorkQueue {
    private let poller: Poller
    private var scheduler = RequestScheduler()

    /// - Throws: EMFILE.
    init() throws(SystemCallError) { poller = try Poller() }

    // MARK: Events

    /// Waits for events.
    ///
    /// - Parameter milliseconds: the longest wait.
    /// - Returns: the events; none when the wait ends without one.
    /// - Throws: the errors of epoll_wait(2).
    func wait(_ milliseconds: CInt) throws(SystemCallError) -> [Poller.Event] { try poller.wait(milliseconds) }

    /// Begins to wait for events of a descriptor.
    ///
    /// - Throws: EEXIST when the descriptor has been added already; ENOMEM, ENOSPC.
    func watch(_ descriptor: FileDescriptor, for interest: Poller.Interest) throws(SystemCallError) {
        try poller.add(descriptor, for: interest)
    }

    /// Waits for other events of a descriptor from now on.
    func change(_ descriptor: FileDescriptor, to interest: Poller.Interest) {
        // This fails for a connection with a postponed end. The poller no longer has it, and it needs no events.
        try? poller.change(descriptor, to: interest)
    }

    /// Stops waiting for events of a descriptor.
    func unwatch(_ descriptor: FileDescriptor) { poller.remove(descriptor) }

    // MARK: Work

    /// Whether several parties have work, so that a charge makes one of them wait.
    var isShared: Bool { scheduler.isShared }

    /// Whether there is no work.
    var isIdle: Bool { scheduler.isIdle }

    /// The number of connections that wait to be served.
    var count: Int { scheduler.count }

    /// Notes an event of a connection.
    func note(_ event: Poller.Event, on connection: Connection) {
        if event.hasEnded {
            noteEnd(of: connection)
        } else {
            scheduler.noteRequest(on: connection.descriptor, of: connection.clientID)
        }
    }

    /// Notes that the client has closed a connection.
    func noteEnd(of connection: Connection) {
        scheduler.noteEnd(of: connection.descriptor, of: connection.clientID)
    }

    /// Notes an accepted connection.
    func noteAccepted(_ descriptor: FileDescriptor, of client: ClientID) {
        scheduler.noteAccepted(descriptor, of: client)
    }

    /// Notes whether connections may wait to be accepted.
    func noteListener(mayAccept: Bool) { scheduler.noteListener(mayAccept: mayAccept) }

    /// Drops the events and the work of a connection that is being closed.
    func forget(_ connection: Connection) {
        poller.remove(connection.descriptor)
        scheduler.forget(connection.descriptor)
    }

    /// Takes the next piece of work; nil when there is none.
    func next() -> RequestScheduler.Work? { scheduler.next() }

    /// Charges time, in nanoseconds, to a client's user and process.
    func charge(_ time: UInt64, to client: ClientID) { scheduler.charge(time, to: client) }

    /// Charges time, in nanoseconds, to accepting.
    func chargeAcceptor(_ time: UInt64) { scheduler.chargeAcceptor(time) }
}

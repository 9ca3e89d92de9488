// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import SystemPackage

/// Waits for the keeper's events: of descriptors, and of the processes that it has started.
final class ChildPoller {
    private let poller: Poller
    /// Processes that have ended and cannot be reaped yet.
    private var unreaped: UnreapedChildren

    /// - Parameter unreaped: processes that the keeper's earlier program has not reaped.
    /// - Throws: EMFILE.
    init(_ unreaped: [CInt] = []) throws(SystemCallError) {
        poller = try Poller()
        self.unreaped = UnreapedChildren(unreaped)
    }

    /// The processes that were not reaped yet.
    var processes: [CInt] { unreaped.processes }

    // MARK: Descriptors

    /// Waits for a descriptor from now on.
    ///
    /// - Throws: EEXIST when this waits for the descriptor already, ENOSPC.
    func add(_ descriptor: FileDescriptor) throws(SystemCallError) { try poller.add(descriptor, for: .reading) }

    /// Stops waiting for a descriptor.
    func remove(_ descriptor: FileDescriptor) { poller.remove(descriptor) }

    /// The number of a descriptor with an event; nil when there is none within `timeout` milliseconds.
    func next(_ timeout: CInt) throws(SystemCallError) -> CInt? { try poller.next(timeout)?.descriptor.rawValue }

    // MARK: Processes

    /// Waits for the messages and the end of a process from now on.
    func watch(_ linked: LinkedProcess) throws(SystemCallError) {
        try add(linked.link.descriptor)
        try add(linked.ending)
    }

    /// Stops waiting for both.
    func forget(_ linked: LinkedProcess) {
        remove(linked.link.descriptor)
        remove(linked.ending)
    }

    /// Ends a process and waits for its end. It does not touch the arena afterwards.
    ///
    /// - Returns: a description of the process's end.
    @discardableResult
    func end(_ linked: LinkedProcess) -> String {
        linked.process.kill()
        linked.process.waitForEnd()
        return reap(linked)?.description ?? "ended"
    }

    /// The exit status of a process; nil when it is not known yet, or when the process is no child of this one.
    func reap(_ linked: LinkedProcess) -> ExitStatus? { unreaped.reap(linked.process.id) }

    /// Reaps the processes that could not be reaped before.
    func reapRest() { unreaped.reap() }
}

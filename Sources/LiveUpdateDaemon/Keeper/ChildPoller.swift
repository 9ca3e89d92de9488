import Platform
import SystemPackage

/// The events of the keeper: of descriptors, and of the processes that it has started.
final class ChildPoller {
    private let poller: Poller
    /// Processes that have ended and cannot be reaped yet.
    private var unreaped: UnreapedChildren

    /// - Parameter unreaped: processes that the program before this one has not reaped.
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
    /// - Throws: EEXIST when it is waited for already, ENOSPC.
    func add(_ descriptor: FileDescriptor) throws(SystemCallError) { try poller.add(descriptor, for: .reading) }

    /// Does not wait for it any more.
    func remove(_ descriptor: FileDescriptor) { poller.remove(descriptor) }

    /// The number of a descriptor to look at; nil when that takes too long, in milliseconds.
    func next(_ timeout: CInt) throws(SystemCallError) -> CInt? { try poller.next(timeout)?.descriptor.rawValue }

    // MARK: Processes

    /// Waits for the messages and the end of a process from now on.
    func watch(_ orchestrating: Orchestrating) throws(SystemCallError) {
        try add(orchestrating.link.descriptor)
        try add(orchestrating.ending)
    }

    /// Does not wait for either any more.
    func forget(_ orchestrating: Orchestrating) {
        remove(orchestrating.link.descriptor)
        remove(orchestrating.ending)
    }

    /// Ends a process, and waits until it has ended: afterwards it does not touch the arena any more.
    ///
    /// - Returns: how it ended, in words.
    @discardableResult
    func end(_ orchestrating: Orchestrating) -> String {
        orchestrating.process.kill()
        orchestrating.process.waitForEnd()
        return reap(orchestrating)?.description ?? "ended"
    }

    /// How a process has ended; nil when that is not known yet, or the process is no child of this one.
    func reap(_ orchestrating: Orchestrating) -> ExitStatus? { unreaped.reap(orchestrating.process.id) }

    /// Reaps the processes that could not be reaped before.
    func reapRest() { unreaped.reap() }
}

// SPDX-License-Identifier: Apache-2.0
public import LiveUpdateCore
import LiveUpdatePlatform
public import SystemPackage

/// A hand-over to the next image, which was started beside this process:
/// ``UpdatableProcess/handOver(to:discardingUnfinished:patience:)``.
///
/// 1. The image starts, gets the arena and copies of the held descriptors, and prepares itself while this process
///    serves. ``advance()`` or ``waitUntilReady()`` does this process's part.
/// 2. The image has called ``UpdatableProcess/ready()``. This process stops its writers and takes no more requests.
/// 3. ``complete()`` freezes, publishes and hands over. It returns when the image has begun its boot. This process
///    answers the requests that it has, and ends.
///
/// Unhappy: if the image ends, hangs, lacks a format or cannot read the state, or if a freeze fails, this process ends
/// the image and goes on with its boot as before, and the call throws the reason. A hand-over without a reference to it
/// is called off.
///
/// Only one thread at a time may use a hand-over.
public final class HandOver {
    private let runner: HandOverRunner
    private let process: UpdatableProcess
    /// Whether the process may begin another hand-over.
    private var hasEnded = false

    /// Begins a hand-over.
    init(_ runner: HandOverRunner, of process: UpdatableProcess) {
        self.runner = runner
        self.process = process
        runner.begin()
        noteEnd()
    }

    deinit { callOff() }

    /// The number of the image's process; nil when it has ended.
    public var image: CInt? { runner.process }

    /// A descriptor for poll(2) and epoll(7), which is readable when ``advance()`` has something to do. This object
    /// owns the descriptor.
    public var descriptor: FileDescriptor { runner.descriptor }

    /// Does the next steps of this process, and does not wait until the image has done its steps. The longest step
    /// looks at all files and writes a draft of the state: some microseconds for each file.
    ///
    /// - Returns: whether the image is ready, so that ``complete()`` can be called.
    /// - Throws: the reason why the hand-over was called off: ENOTSUP when the image could not be started, lacks a
    ///   format that is in use, has ended, or was not ready in time; the errno of a file that cannot be frozen;
    ///   ECANCELED after ``callOff()``.
    public func advance() throws(LiveUpdateError) -> Bool { try advance(within: 0) }

    /// Waits until the image is ready.
    ///
    /// - Throws: as ``advance()``.
    public func waitUntilReady() throws(LiveUpdateError) {
        while try !advance(within: -1) {}
    }

    private func advance(within milliseconds: CInt) throws(LiveUpdateError) -> Bool {
        // An image that is ready can still end.
        if !runner.isOver { runner.step(within: runner.stage == .ready ? 0 : milliseconds) }
        try check()
        return runner.stage != .starting
    }

    /// Waits until the image is ready, hands the state over, and waits until the image has begun its boot. From this
    /// call on, nothing may write to the preserved memory.
    ///
    /// On success the boot of this process is over: every request fails with ENODEV. If this process is a service of
    /// systemd, systemd learns the number of the new main process.
    ///
    /// - Throws: as ``advance()``, and as ``/LiveUpdateCore/Orchestrator/publish(discardingUnfinished:)``; ECANCELED
    ///   when the image fails after the state was handed over. After an error, everything is as before.
    public func complete() throws(LiveUpdateError) {
        try waitUntilReady()
        if runner.stage == .ready { runner.publish() }
        try check()
        if let image { MainProcess.tell(image) }
    }

    /// Calls the hand-over off: the image ends, and this process goes on as before. After ``complete()`` this does
    /// nothing.
    public func callOff() {
        runner.callOff()
        noteEnd()
    }

    private func check() throws(LiveUpdateError) {
        noteEnd()
        if case .failed(let reason) = runner.stage { throw reason }
    }

    private func noteEnd() {
        guard !hasEnded, runner.isOver else { return }
        hasEnded = true
        process.endHandOver()
    }
}

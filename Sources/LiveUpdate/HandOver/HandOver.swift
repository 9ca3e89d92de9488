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
/// Unhappy: when the image ends, hangs, lacks a format or cannot read the state, or when a freeze fails, the image is
/// ended, the boot of this process goes on as before, and the call throws the reason. A hand-over that is forgotten is
/// called off.
///
/// One thread at a time uses it.
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

    /// A descriptor for poll(2) and epoll(7): it is readable when ``advance()`` has something to do. It belongs to this
    /// object.
    public var descriptor: FileDescriptor { runner.descriptor }

    /// Does what there is to do, without waiting for the image.
    ///
    /// - Returns: whether the image is ready, so that ``complete()`` can be called.
    /// - Throws: the reason why the hand-over was called off: ENOTSUP when the image lacks a format that is in use, has
    ///   ended, or did not get ready in time; the errno of a file that cannot be frozen; EMFILE.
    public func advance() throws(LiveUpdateError) -> Bool { try advance(within: 0) }

    /// Waits until the image is ready.
    ///
    /// - Throws: as ``advance()``.
    public func waitUntilReady() throws(LiveUpdateError) {
        while try !advance(within: -1) {}
    }

    private func advance(within milliseconds: CInt) throws(LiveUpdateError) -> Bool {
        if case .starting = runner.stage { runner.step(within: milliseconds) }
        try check()
        return runner.stage != .starting
    }

    /// Hands the state over, and waits until the image has begun its boot. It waits first until the image is ready.
    /// From the call on, nothing may write to the preserved memory.
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

    /// Ends the image. This process goes on as before. After ``complete()`` this does nothing.
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

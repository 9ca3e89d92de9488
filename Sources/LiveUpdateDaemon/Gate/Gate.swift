// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// The parts of the gate that its listeners share: calls, connection to the orchestrator, turns and limits.
final class Gate: Sendable {
    let calls: CallTable
    let orchestrator: GateLink
    let turns = CallTurns()
    let log: Log
    /// The kernel that programs see; nil: everything that luod has.
    let kernel: EmulatedKernel?
    private let recovered: RecoveredCalls
    /// The first tag is random, so that it differs from the tags of the gates before this one.
    private let lastTag = Guarded(UInt64.random(in: 1 ... .max))
    private let waiting = Guarded(WaitingThreads())
    private let lock = Lock()
    /// The number of programs that have not ended.
    private nonisolated(unsafe) var running = 0

    init(_ calls: CallTable, _ settings: Settings, _ log: Log) {
        self.calls = calls
        self.log = log
        kernel = settings.kernel
        orchestrator = GateLink(StateDirectory(settings.state))
        recovered = RecoveredCalls(calls)
    }

    /// Answers the calls of a program until it ends. It finishes the recovered calls of the program first.
    ///
    /// - Returns: the listener if it could not begin, so that the caller begins it later; nil if it has begun, or if
    ///   the descriptor is no listener.
    func serve(
        _ slot: DescriptorSlot, of user: SessionUser, _ descriptor: consuming OwnedDescriptor
    ) -> ProgramListener? {
        guard descriptor.borrowed.isCallListener else { return nil }
        lock.withLock { unsafe running += 1 }
        let listener = ProgramListener(slot, user, descriptor, self)
        for place in recovered.take(of: slot, turns) { listener.begin(recovering: place) }
        return listener.begin() ? nil : listener
    }

    /// A tag for a new request.
    var newTag: UInt64 {
        lastTag.with { last in
            last = last == .max ? 1 : last + 1
            return last
        }
    }

    /// Counts a thread that waits for other threads.
    ///
    /// - Returns: false when the user may have no more such threads.
    func beginWaiting(_ user: SessionUser) -> Bool { waiting.with { $0.begin(user) } }

    /// Counts one waiting thread less.
    func endWaiting(_ user: SessionUser) { waiting.with { $0.end(user) } }

    /// Notes that a program has ended.
    func noteEnd() {
        lock.withLock {
            unsafe running -= 1
            lock.wakeAll()
        }
    }

    /// Waits until all programs have ended.
    func waitForEnd() { lock.withLock { lock.wait { unsafe running == 0 } } }
}

// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// The listener for the calls of all processes under one filter. One thread receives calls and answers those at once
/// that need no wait. When another call arrives while it waits for the orchestrator, it lets a second thread receive: a
/// spare thread, or a new one. Each waiting call thus has a thread, and never delays opens of other files. Waking the
/// second thread before another call arrives would cost more than the answer, because it wakes a processor.
final class ProgramListener: Sendable {
    let gate: Gate
    private let slot: DescriptorSlot
    private let user: SessionUser
    private let owned: OwnedDescriptor
    private let lock = Lock()
    private nonisolated(unsafe) var state = State()

    private struct State {
        var hasReceiver = false
        /// The number of threads that wait to receive.
        var spare = 0
        var threads = 0
        /// Whether no process is left under the filter.
        var hasEnded = false
    }

    init(_ slot: DescriptorSlot, _ user: SessionUser, _ listener: consuming OwnedDescriptor, _ gate: Gate) {
        self.slot = slot
        self.user = user
        self.gate = gate
        owned = listener
        owned.borrowed.wakeOnOneProcessor()
    }

    var descriptor: FileDescriptor { owned.borrowed }

    // MARK: Threads

    /// Starts the first thread.
    ///
    /// - Returns: false without room for the calls or without a thread. The program then waits until this works.
    func begin() -> Bool { start {} }

    /// Starts a thread that first finishes a recovered call. If this fails, the gate ends and the next gate tries
    /// again: the call stays in its place.
    func begin(recovering place: CallPlace) {
        let isStarted = start(place) {
            RecoveredCall(place).finish(on: self, self.gate.turns)
            self.receive(into: place)
        }
        if !isStarted { exitNow(1) }
    }

    /// Starts one more thread. It receives when no other thread does.
    ///
    /// - Returns: false when there are too many threads.
    private func beginAnother() -> Bool {
        guard gate.beginWaiting(user) else { return false }
        let isStarted = start { self.gate.endWaiting(self.user) }
        if !isStarted { gate.endWaiting(user) }
        return isStarted
    }

    /// Starts a thread in a free place. `ended` is called at the end of the thread.
    ///
    /// - Returns: false when no place is free, or when the thread cannot be started.
    private func start(_ ended: @escaping @Sendable () -> Void) -> Bool {
        guard let place = gate.calls.take() else { return false }
        place.listener = slot
        let isStarted = start(place) {
            self.receive(into: place)
            ended()
        }
        if !isStarted { place.giveBack() }
        return isStarted
    }

    private func start(_ place: CallPlace, _ body: @escaping @Sendable () -> Void) -> Bool {
        lock.withLock { unsafe state.threads += 1 }
        do throws(SystemCallError) {
            try startThread {
                body()
                place.giveBack()
                self.noteThreadEnd()
            }
            return true
        } catch {
            gate.log.say("\(error)")
            noteThreadEnd()
            return false
        }
    }

    private func noteThreadEnd() {
        let isLast = lock.withLock {
            unsafe state.threads -= 1
            return unsafe state.threads == 0 && state.hasEnded
        }
        if isLast { gate.noteEnd() }
    }

    // MARK: Receiving

    private func receive(into place: CallPlace) {
        let handle = KeptHandle()
        while becomeReceiver() {
            var isReceiver = true
            while isReceiver {
                guard let notification = next(place) else { return finish() }
                let call = GatedCall(notification, place, self, handle)
                call.answer()
                place.clear()
                isReceiver = !call.hasLetOthersReceive
            }
            // A few threads stay for the next call that takes longer.
            guard lock.withLock({ unsafe state.spare < 2 }) else { return }
        }
    }

    /// - Returns: nil when no process is left under the filter.
    private func next(_ place: CallPlace) -> CallNotification? {
        do throws(SystemCallError) {
            while try descriptor.waitForCall() {
                do throws(SystemCallError) {
                    return try place.receive(descriptor)
                } catch {
                    // The caller was killed meanwhile.
                    guard error.errno == .noSuchFileOrDirectory else { throw error }
                    place.clear()
                }
            }
        } catch {
            gate.log.say("a program's calls are not received any more: \(error)")
        }
        return nil
    }

    /// - Returns: false when no process is left under the filter.
    private func becomeReceiver() -> Bool {
        lock.withLock {
            unsafe state.spare += 1
            lock.wait { unsafe !state.hasReceiver || state.hasEnded }
            unsafe state.spare -= 1
            guard unsafe !state.hasEnded else { return false }
            unsafe state.hasReceiver = true
            return true
        }
    }

    /// Lets another thread receive, because the calling thread, which receives now, does something else.
    ///
    /// - Returns: false when there is no other thread. The calling thread then receives again later.
    func letOthersReceive() -> Bool {
        let spare = lock.withLock { unsafe state.spare }
        guard spare > 0 || beginAnother() else { return false }
        lock.withLock {
            unsafe state.hasReceiver = false
            lock.wakeOne()
        }
        return true
    }

    private func finish() {
        lock.withLock {
            unsafe state.hasEnded = true
            lock.wakeAll()
        }
    }
}

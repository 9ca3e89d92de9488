import Glibc
import LiveUpdate
import Platform
import SystemPackage

/// The processes under one filter. One thread receives their calls and answers what it can at once. When another call comes
/// while it waits for the orchestrator, it lets another thread receive, which waits for that or is started: so there is a
/// thread for each call that waits, and opens of other files are never behind one. To do that before there is another call
/// would cost more than the answer: a processor is woken for it.
final class GatedProgram: Sendable {
    let gate: Gate
    private let slot: DescriptorSlot
    private let user: SessionOwner
    private let owned: OwnedDescriptor
    private let lock = Lock()
    private nonisolated(unsafe) var state = State()

    private struct State {
        var hasReceiver = false
        /// Threads that would receive.
        var spare = 0
        var threads = 0
        var hasEnded = false
    }

    init(_ slot: DescriptorSlot, _ user: SessionOwner, _ listener: consuming OwnedDescriptor, _ gate: Gate) {
        self.slot = slot
        self.user = user
        self.gate = gate
        owned = listener
        owned.borrowed.wakeOnOneProcessor()
    }

    var listener: FileDescriptor { owned.borrowed }

    // MARK: Threads

    /// Starts the first thread. Without room for its calls the program waits until the file system has some.
    func begin() {
        guard !start({}) else { return }
        gate.log.say(
            "a program under luoctl run waits without room for its calls: give the file system of the state more room"
        )
        try? startThread { while !self.start({}) { usleep(200_000) } }
    }

    /// Starts one more, that receives when nobody else does.
    ///
    /// - Returns: false when there are too many.
    private func beginAnother() -> Bool {
        guard gate.beginWaiting(user) else { return false }
        let isStarted = start { self.gate.endWaiting(self.user) }
        if !isStarted { gate.endWaiting(user) }
        return isStarted
    }

    /// - Parameter ended: is done at its end.
    @discardableResult
    private func start(_ ended: @escaping @Sendable () -> Void) -> Bool {
        guard let place = gate.calls.take() else { return false }
        place.listener = slot
        return start(place) {
            self.receive(into: place)
            ended()
        }
    }

    /// Starts one that answers first what is left.
    func begin(with place: CallPlace) {
        start(place) {
            let reserved = place.isUnderWay ? place.cookie : nil
            if let notification = place.notification {
                GatedCall(notification, place, self, isLeft: true).answer()
                place.clear()
            }
            if let reserved { self.gate.turns.end(reserved) }
            self.receive(into: place)
        }
    }

    @discardableResult
    private func start(_ place: CallPlace, _ body: @escaping @Sendable () -> Void) -> Bool {
        lock.withLock { unsafe state.threads += 1 }
        do throws(SystemCallError) {
            try startThread {
                body()
                self.end(place)
            }
            return true
        } catch {
            gate.log.say("\(error)")
            end(place)
            return false
        }
    }

    private func end(_ place: CallPlace) {
        place.giveBack()
        let isLast = lock.withLock {
            unsafe state.threads -= 1
            return unsafe state.threads == 0 && state.hasEnded
        }
        if isLast { gate.ended() }
    }

    // MARK: Receiving

    private func receive(into place: CallPlace) {
        let handle = KeptHandle()
        while becomeReceiver() {
            var isReceiver = true
            while isReceiver {
                guard let notification = next(place) else { return finish() }
                let call = GatedCall(notification, place, self, isLeft: false, handle)
                call.answer()
                place.clear()
                isReceiver = !call.hasLetOthersReceive
            }
            // Some wait for the next call that takes longer.
            guard lock.withLock({ unsafe state.spare < 2 }) else { return }
        }
    }

    /// - Returns: nil when nobody is left who could call.
    private func next(_ place: CallPlace) -> CallNotification? {
        do throws(SystemCallError) {
            while try listener.waitForCall() {
                do throws(SystemCallError) {
                    return try place.receive(listener)
                } catch {
                    // Whoever called was killed meanwhile.
                    guard error.errno == .noSuchFileOrDirectory else { throw error }
                    place.clear()
                }
            }
        } catch {
            gate.log.say("a program's calls are not received any more: \(error)")
        }
        return nil
    }

    /// - Returns: false when there is nothing to receive any more.
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

    /// The calling thread, which receives, does something else.
    ///
    /// - Returns: false when there is nobody else: it goes on receiving, later.
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

import LiveUpdate
import Platform
import SystemPackage

/// What the threads of a gate share.
final class Gate: Sendable {
    let calls: CallTable
    let orchestrator: GateLink
    let turns = Turns()
    let log: Log
    /// What programs are to find; nil: everything.
    let kernel: EmulatedKernel?
    /// Begins where no gate before this one has been.
    private let lastTag = Guarded(UInt64.random(in: 1 ... .max))
    /// Programs that have not ended.
    private let programs = Lock()
    private nonisolated(unsafe) var running = 0
    /// Threads that wait for others, by user.
    private let waiting: Guarded<[SessionOwner: Int]> = Guarded([:])
    /// More calls of one user, other than root, wait behind one another, in each program, so that there is room for others'.
    private static let mostWaiting = 2048
    /// Calls that a gate before this one has not answered.
    private let left: Guarded<[CallPlace]>

    init(_ calls: CallTable, _ settings: Settings, _ log: Log) {
        self.calls = calls
        self.log = log
        kernel = settings.kernel
        orchestrator = GateLink(StateDirectory(settings.state))
        left = Guarded(calls.left)
    }

    /// Answers the calls of a program, from now on until it has ended, and what is left of it.
    func serve(_ slot: DescriptorSlot, of user: SessionOwner, _ listener: consuming OwnedDescriptor) {
        guard listener.borrowed.isCallListener else { return }
        programs.withLock { unsafe running += 1 }
        let program = GatedProgram(slot, user, listener, self)
        let mine = left.with { left in
            let mine = left.filter { $0.listener == slot }
            left.removeAll { $0.listener == slot }
            return mine
        }
        // Before anybody else asks, and takes the answer for one of no use.
        for place in mine where place.isUnderWay { turns.reserve(place.cookie) }
        for place in mine { program.begin(with: place) }
        program.begin()
    }

    /// For a request that is new.
    var newTag: UInt64 {
        lastTag.with { last in
            last = last == .max ? 1 : last + 1
            return last
        }
    }

    /// - Returns: false when there are as many as one user may have.
    func beginWaiting(_ user: SessionOwner) -> Bool {
        waiting.with { waiting in
            guard user == 0 || waiting[user, default: 0] < Self.mostWaiting else { return false }
            waiting[user, default: 0] += 1
            return true
        }
    }

    func endWaiting(_ user: SessionOwner) {
        waiting.with { waiting in
            let left = waiting[user, default: 1] - 1
            waiting[user] = left == 0 ? nil : left
        }
    }

    func ended() {
        programs.withLock {
            unsafe running -= 1
            programs.wakeAll()
        }
    }

    /// Waits until no program is left.
    func waitForEnd() { programs.withLock { programs.wait { unsafe running == 0 } } }
}

/// One call at a time on each socket: the others wait for their turn.
final class Turns: Sendable {
    private let lock = Lock()
    private nonisolated(unsafe) var busy: Set<UInt64> = []

    /// - Parameter waits: told before it waits.
    func take<Value: ~Copyable, Failure>(
        _ cookie: UInt64, waits: () -> Void, _ body: () throws(Failure) -> Value
    ) throws(Failure) -> Value {
        if !lock.withLock({ unsafe busy.insert(cookie).inserted }) {
            waits()
            lock.withLock { lock.wait { unsafe busy.insert(cookie).inserted } }
        }
        defer { end(cookie) }
        return try body()
    }

    /// Takes a turn for who is to end it, before others can.
    func reserve(_ cookie: UInt64) { lock.withLock { _ = unsafe busy.insert(cookie) } }

    func end(_ cookie: UInt64) {
        lock.withLock {
            _ = unsafe busy.remove(cookie)
            lock.wakeAll()
        }
    }
}

import LiveUpdate
import Platform

/// Who asks: a process, by what the kernel said when it connected. The sessions that it opens count as its own; those that
/// an orchestrator finds when it begins, as their user's.
struct Asker: Hashable {
    var user: SessionOwner
    var process: CInt
}

/// What one wait has found, by who asks. However much somebody asks, on however many connections, the others get their
/// share of each turn: what is not done in it is still there in the next.
struct Turn {
    /// What one asker has.
    struct Ready {
        var ended: [Connection] = []
        var asking: [(connection: Connection, event: Poller.Event)] = []
    }

    private(set) var askers: [Asker: Ready] = [:]
    /// Of the turn, in nanoseconds: all of it is shared by those that are ready, and nobody gets more than an eighth.
    private static let length: UInt64 = 32_000_000

    mutating func add(_ connection: Connection, _ event: Poller.Event) {
        if event.hasEnded {
            askers[connection.asker, default: Ready()].ended.append(connection)
        } else {
            askers[connection.asker, default: Ready()].asking.append((connection, event))
        }
    }

    /// Does things, the first in any case, until the share of time of one asker is over.
    ///
    /// - Returns: whether all were done.
    func share<Thing>(_ things: [Thing], _ body: (Thing) -> Void) -> Bool {
        if things.count == 1 {
            body(things[0])
            return true
        }
        let end = monotonicNanoseconds() + Self.length / UInt64(max(askers.count, 8))
        for (index, thing) in things.enumerated() {
            body(thing)
            if monotonicNanoseconds() >= end { return index == things.count - 1 }
        }
        return true
    }
}

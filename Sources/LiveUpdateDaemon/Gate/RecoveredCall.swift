import LiveUpdate
import Platform
import SystemPackage

/// A call that a gate has taken and not answered before it died: the next gate finishes it.
///
/// 1. When a gate begins, it finds these calls in the ``CallTable``, and gives each to the listener that it came from.
/// 2. A call with a request that was begun has the turn on its socket before all others: another call would take the
///    answer for one of no use.
/// 3. Its request is sent again with the same tag, so that luod does it once, and nothing that the caller was given
///    already is given twice.
/// 4. It is answered, and its thread goes on as one that receives. If the caller was answered before the gate died, or
///    has ended, nothing is done.
///
/// A live call has no ``RecoveredCall``.
struct RecoveredCall: Sendable {
    private let place: CallPlace

    init(_ place: CallPlace) { self.place = place }

    /// The result of the request, as an errno, 0 for success; nil when the gate that died did not know it.
    var result: CInt? { place.result }

    /// Whether the request may have been sent, and even done.
    var hasRequest: Bool { place.tag != 0 }

    /// The socket whose turn this call has; nil when no request was begun, or its result is known.
    var turn: UInt64? { place.isUnderWay ? place.cookie : nil }

    /// The number of the descriptor that the caller was given for the call; nil when it was given none.
    func given(to caller: OtherThread) -> CInt? {
        if let given = place.given { return given }
        return place.socket == 0 ? nil : caller.number(ofSocket: place.socket)
    }

    /// Finishes the call, unless the place is empty, and lets others have its turn.
    func finish(on listener: ProgramListener, _ turns: CallTurns) {
        let reserved = turn
        if let notification = place.notification {
            GatedCall(notification, place, listener, recovered: self).answer()
            place.clear()
        }
        if let reserved { turns.end(reserved) }
    }
}

/// The recovered calls that are not finished yet, by the listener that they came from.
final class RecoveredCalls: Sendable {
    private let places: Guarded<[CallPlace]>

    init(_ table: CallTable) { places = Guarded(table.left) }

    /// The places of a listener's recovered calls, once. Each that needs the turn on its socket has it.
    func take(of slot: DescriptorSlot, _ turns: CallTurns) -> [CallPlace] {
        let own = places.with { places in
            let own = places.filter { $0.listener == slot }
            places.removeAll { $0.listener == slot }
            return own
        }
        for turn in own.compactMap({ RecoveredCall($0).turn }) { turns.reserve(turn) }
        return own
    }
}

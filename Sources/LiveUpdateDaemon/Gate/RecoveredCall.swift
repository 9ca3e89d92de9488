// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// A call that a gate has taken but not answered before it died. The next gate finishes it.
///
/// 1. A new gate finds these calls in the ``CallTable``, and gives each to the listener that it came from.
/// 2. A call with a begun request takes the turn on its socket before all other calls. Another call could drop the
///    answer as one that no call waits for.
/// 3. The request is sent again with the same tag, so that luod does it once, and the caller receives no descriptor
///    twice.
/// 4. The call is answered, and its thread receives calls from then on. Nothing is done if the caller was answered
///    before the gate died, or has ended.
///
/// A live call has no ``RecoveredCall``.
struct RecoveredCall: Sendable {
    private let place: CallPlace

    init(_ place: CallPlace) { self.place = place }

    /// The result of the request, as an errno or 0 for success; nil when the dead gate did not know it.
    var result: CInt? { place.result }

    /// Whether the request may have been sent, and may even have been done.
    var hasRequest: Bool { place.tag != 0 }

    /// The cookie of the socket on which this call has the turn; nil if no request was begun or its result is known.
    var turn: UInt64? { place.isUnderWay ? place.cookie : nil }

    /// The number of the descriptor that the caller received for the call; nil if it received none.
    func given(to caller: OtherThread) -> CInt? {
        if let given = place.given { return given }
        return place.socket == 0 ? nil : caller.number(ofSocket: place.socket)
    }

    /// Finishes the call, unless the place is empty, and ends its turn.
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

    /// The places of a listener's recovered calls. A second call returns none. Each call that needs the turn on its
    /// socket has it.
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

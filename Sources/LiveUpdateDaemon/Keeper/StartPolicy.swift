// SPDX-License-Identifier: Apache-2.0

/// Decides when the next orchestrator must not read the state, because too many died before they served. It does no
/// I/O.
///
/// 1. Two deaths in a row by a fault are enough, or five by SIGKILL. ``RequestDeaths`` has the same limits.
/// 2. An orchestrator that serves, or that continues but refuses clients, ends the row.
struct StartPolicy: Equatable, Sendable {
    private var points: UInt32 = 0
    private var hasBegun = false
    /// The number of orchestrators in a row that died before they served.
    private(set) var deaths = 0

    /// Notes that the orchestrator serves, or that it continues but refuses clients.
    mutating func noteBegin() {
        hasBegun = true
        (points, deaths) = (0, 0)
    }

    /// Counts a death.
    ///
    /// - Returns: whether the next orchestrator must not read the state.
    mutating func noteDeath(_ cause: RequestDeaths.Cause) -> Bool {
        defer { hasBegun = false }
        guard !hasBegun else { return false }
        deaths += 1
        points = min(points + cause.points, 1000)
        return points >= RequestDeaths.enough
    }
}

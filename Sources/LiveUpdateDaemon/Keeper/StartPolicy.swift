/// Decides when orchestrators are no longer started on a state in the usual way, because they die before they serve. It
/// does no I/O.
///
/// 1. Two deaths in a row by a fault are enough, or five by SIGKILL: as for a request (``RequestDeaths``).
/// 2. An orchestrator that serves, or that refuses to, ends the row.
struct StartPolicy: Equatable, Sendable {
    private var points: UInt32 = 0
    private var hasBegun = false
    /// How many orchestrators in a row died before they served.
    private(set) var deaths = 0

    /// The orchestrator serves, or refuses to and goes on.
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

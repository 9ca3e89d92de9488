import Platform

/// Times the phases of one round, or counts what they do. Not both: counting takes time.
final class BenchMeter {
    private let isCounting: Bool
    private(set) var times: [BenchPhase: Double] = [:]
    private(set) var counts: [BenchPhase: BenchCounts] = [:]
    /// That preserving took.
    var arenaBytes = 0.0

    init(counting: Bool = false) { isCounting = counting }

    func measure(_ phase: BenchPhase, _ body: () throws -> Void) throws {
        if isCounting {
            counts[phase] = try BenchCounts.of(body)
        } else {
            times[phase] = try elapsed(body)
        }
    }

    /// Gives a phase its part of what was timed as a whole.
    func split(_ phase: BenchPhase, nanoseconds: Double, from whole: BenchPhase) {
        guard let time = times[whole] else { return }
        times[phase] = nanoseconds
        times[whole] = max(time - nanoseconds, 0)
    }
}

/// How many nanoseconds something takes.
func elapsed(_ body: () throws -> Void) rethrows -> Double {
    let start = monotonicNanoseconds()
    try body()
    return Double(monotonicNanoseconds() - start)
}

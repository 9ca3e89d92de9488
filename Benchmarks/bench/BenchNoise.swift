// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import LiveUpdateBenchReport
import LiveUpdateCommandLine
import LiveUpdatePlatform

/// Measures how quiet the machine is. It times a constant loop before and after all measurements, and reads the
/// processor time that others take from the kernel.
struct BenchNoise {
    private let loadBefore = Self.load.first ?? 0
    private let ticksBefore = Ticks.now()
    private var loops = Self.timeLoops()

    /// The load averages over 1, 5 and 15 minutes.
    static var load: [Double] {
        let text = (try? String(contentsOfFile: "/proc/loadavg", encoding: .utf8)) ?? ""
        return text.split(separator: " ").prefix(3).compactMap { Double($0) }
    }

    /// Ends the measurement of noise, and returns the reasons to doubt the figures.
    mutating func warnings(processors: Int, governor: String?, _ measurements: [BenchMeasurement]) -> [String] {
        loops += Self.timeLoops()
        var warnings: [String] = []
        if let note = Self.buildNote { warnings.append(note) }
        let spread = BenchDistribution(loops).spread
        if spread > 0.05 {
            warnings.append(
                "the same loop took times that differ by \(Self.percent(spread)): differences below that mean nothing")
        }
        if loadBefore > Double(processors) / 2 {
            warnings.append(
                "the load was \(loadBefore) on \(processors) processors before it began: others were at work")
        }
        let stolen = Ticks.now().stolen(since: ticksBefore)
        if stolen > 0.01 { warnings.append("the hypervisor gave \(Self.percent(stolen)) of the time to others") }
        if let governor, governor != "performance" {
            warnings.append("the frequency governor is \(governor): the processor may not always run at the same speed")
        }
        let unsteady = measurements.filter { $0.ours.spread > 0.25 && $0.ours.median > 10_000 }
        if let worst = unsteady.max(by: { $0.ours.spread < $1.ours.spread }) {
            warnings.append(
                "the quartiles of \(unsteady.count) of \(measurements.count) results are more than a quarter apart, at most "
                    + "\(Self.percent(worst.ours.spread)) (\(worst.scenario) \(worst.name))")
        }
        return warnings
    }

    private static func percent(_ share: Double) -> String { "\(fixed(share * 100, 1)) %" }

    private static var buildNote: String? {
        var isDebug = false
        assert({ isDebug = true }() == ())
        return isDebug ? "this luo-bench is not optimized: make bench builds one that is" : nil
    }

    /// Times loops of some milliseconds each.
    private static func timeLoops() -> [Double] {
        (0..<40).map { _ in
            elapsed {
                var value = monotonicNanoseconds()
                for _ in 0..<500_000 {
                    value ^= value << 13
                    value ^= value >> 7
                    value ^= value << 17
                }
                precondition(value != 0)
            }
        }
    }
}

/// The time of all processors together, from /proc/stat.
private struct Ticks {
    let stolen: Double
    let total: Double

    static func now() -> Ticks {
        let text = (try? String(contentsOfFile: "/proc/stat", encoding: .utf8)) ?? ""
        // cpu user nice system idle iowait irq softirq steal guest guest_nice: user and nice include the last two.
        let numbers = text.prefix { $0 != "\n" }.split(separator: " ").compactMap { Double($0) }
        return Ticks(stolen: numbers.count > 7 ? numbers[7] : 0, total: numbers.prefix(8).reduce(0, +))
    }

    func stolen(since earlier: Ticks) -> Double {
        total > earlier.total ? (stolen - earlier.stolen) / (total - earlier.total) : 0
    }
}

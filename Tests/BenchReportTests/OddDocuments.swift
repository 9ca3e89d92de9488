// SPDX-License-Identifier: Apache-2.0
import TestSupport

@testable import LiveUpdateBenchReport

/// Unusual documents that a page must show without a fault.
enum OddDocuments {
    static var all: [(name: String, document: BenchDocument)] {
        [
            ("full", BenchSamples.full()), ("empty", BenchSamples.empty()), ("hostile", hostile),
            ("one", with([BenchSamples.measurement(1_000)])),
            ("one of each scenario", with(scenarios.map { BenchSamples.measurement($0, "preserve", [:], 1_000) })),
            (
                "equal",
                with(sizes.map { BenchSamples.measurement("hugetlb", "boot", ["bytes": $0], 1_000, floor: 1_000) })
            ),
            ("huge range", with(hugeRange)), ("impossible", with(impossible)), ("long names", with(longNames)),
            ("many", with(many)),
        ]
    }

    private static let scenarios = [
        "hugetlb", "memfd", "files", "sessions", "update", "run", "verify", "compare", "other",
    ]
    private static let sizes: [UInt64] = [1 << 20, 1 << 26, 1 << 30, 1 << 40]

    private static func with(_ measurements: [BenchMeasurement]) -> BenchDocument {
        var document = BenchSamples.empty()
        document.measurements = measurements
        return document
    }

    /// A document in which each string tries to break out of its place in the page.
    static var hostile: BenchDocument {
        let attack = "<script>alert('x')</script>\" onload=\"alert(1)\u{0}&amp;"
        var document = BenchSamples.empty()
        document.machine.processor = attack
        document.machine.kernel = attack
        document.machine.hypervisor = attack
        document.machine.governor = attack
        document.started = attack
        document.command = ["luoctl", attack]
        document.warnings = [attack]
        document.absent = [BenchAbsence(scenario: attack, name: attack, reason: attack, remedy: attack)]
        document.targets = [BenchTarget(scenario: attack, name: attack, value: 1, limit: 2)]
        document.projections = [
            BenchProjection(
                name: attack, bytes: 1 << 40, page: 4096, time: 1, arena: 1, measuredFrom: 1, measuredTo: 2)
        ]
        for scenario in scenarios + [attack] {
            for bytes in sizes {
                var one = BenchSamples.measurement(scenario, attack, ["bytes": bytes, attack: 3], 1_000, floor: 900)
                one.floorName = attack
                one.note = attack
                one.counted = [attack: 1]
                one.ratioLimit = 1
                document.measurements.append(one)
            }
        }
        document.measurements.append(BenchSamples.measurement("update", "blackout", [:], 1_000))
        document.measurements.append(BenchSamples.measurement("update", "\(attack)", [:], 1_000))
        return document
    }

    private static var hugeRange: [BenchMeasurement] {
        scenarios.flatMap { scenario in
            [(UInt64(1), 0.001), (1 << 63, 1e20)].map { bytes, time in
                let name = scenario == "update" ? "blackout" : "preserve"
                return BenchSamples.measurement(scenario, name, ["bytes": bytes], time, floor: time * 1_000)
            } + [BenchSamples.measurement(scenario, "part", ["bytes": 1 << 63], 1e3)]
        }
    }

    /// Measurements that no clock gives. A file that a person has edited may have them.
    private static var impossible: [BenchMeasurement] {
        scenarios.flatMap { scenario in
            [0, -5, 1e300, 4e-300].map { time in
                BenchSamples.measurement(
                    scenario, "blackout", ["files": UInt64(max(0, min(time, 9)))], time, floor: time)
            }
        }
    }

    private static var longNames: [BenchMeasurement] {
        let name = "a name that is much longer than a telephone is wide, WWWWWWWWWWMMMMMMMMMM and 漢字漢字漢字漢字"
        return scenarios.flatMap { scenario in
            (0..<9).map {
                BenchSamples.measurement(scenario, "\($0) \(name)", ["descriptors": 10_000_000], 1e6)
            }
                + [BenchSamples.measurement(scenario, "blackout", ["descriptors": 10_000_000], 1e7, floor: 1e7)]
        }
    }

    private static var many: [BenchMeasurement] {
        scenarios.flatMap { scenario in
            (0..<40).flatMap { (step: UInt64) -> [BenchMeasurement] in
                let parameters: [String: UInt64] = ["bytes": 1 << (20 + step % 20), "files": 1 + step / 20 * 252]
                let time = 1_000 * Double(1 + step * step)
                return [
                    BenchSamples.measurement(scenario, "blackout", parameters, time, floor: time * 0.9),
                    BenchSamples.measurement(scenario, "freeze", parameters, time / 3),
                    BenchSamples.measurement(scenario, "boot", parameters, time / 2),
                ]
            }
        }
    }
}

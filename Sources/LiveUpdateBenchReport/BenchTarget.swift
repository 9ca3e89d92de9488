// SPDX-License-Identifier: Apache-2.0

/// A limit that this project promises, and the value that one run reached.
package struct BenchTarget: Codable, Equatable, Sendable {
    /// As in ``BenchMeasurement``.
    package var scenario: String
    /// The two compared things, in words.
    package var name: String
    /// The ratio that was measured.
    package var value: Double
    /// The promised limit of the value.
    package var limit: Double
    /// Whether the limit is an upper limit; otherwise it is a lower limit.
    package var isUpperLimit: Bool

    package init(scenario: String, name: String, value: Double, limit: Double, isUpperLimit: Bool = true) {
        self.scenario = scenario
        self.name = name
        self.value = value
        self.limit = limit
        self.isUpperLimit = isUpperLimit
    }

    package var isMet: Bool { isUpperLimit ? value <= limit : value >= limit }
}

extension BenchTarget {
    /// Makes the targets for which a run has measurements.
    package static func all(of measurements: [BenchMeasurement]) -> [BenchTarget] {
        ratios(measurements) + constancies(measurements) + memory(measurements) + comparisons(measurements)
    }

    /// The ratios to the floor.
    private static func ratios(_ measurements: [BenchMeasurement]) -> [BenchTarget] {
        measurements.compactMap { measurement in
            guard let limit = measurement.ratioLimit, let ratio = measurement.ratio else { return nil }
            return BenchTarget(
                scenario: measurement.scenario, name: "\(measurement.label), to the floor", value: ratio, limit: limit)
        }
    }

    /// The costs that must not grow: a large size is compared with a small one.
    private static func constancies(_ measurements: [BenchMeasurement]) -> [BenchTarget] {
        func median(_ scenario: String, _ name: String, _ parameter: String, _ value: UInt64, page: UInt64?) -> Double?
        {
            measurements.first {
                $0.scenario == scenario && $0.name == name && $0.parameters[parameter] == value
                    && (page == nil || $0.parameters["page"] == page)
            }?.ours.median
        }
        func target(
            _ scenario: String, _ name: String, _ parameter: String, _ few: UInt64, _ many: UInt64, _ text: String,
            limit: Double, page: UInt64? = nil
        ) -> BenchTarget? {
            guard let low = median(scenario, name, parameter, few, page: page), low > 0,
                let high = median(scenario, name, parameter, many, page: page)
            else { return nil }
            return BenchTarget(scenario: scenario, name: text, value: high / low, limit: limit)
        }
        return [
            target(
                "update", "blackout", "bytes", 256 << 20, 4 << 30, "blackout at 4 GiB, to that at 256 MiB", limit: 1.1,
                page: 2 << 20),
            target(
                "update", "hand-over: blackout", "bytes", 256 << 20, 4 << 30,
                "hand-over: blackout at 4 GiB, to that at 256 MiB", limit: 1.1, page: 2 << 20),
            target(
                "update", "luod, loaded: blackout", "bytes", 256 << 20, 4 << 30,
                "luod, loaded: blackout at 4 GiB, to that at 256 MiB", limit: 1.1, page: 2 << 20),
            target(
                "update", "luod: preserve", "files", 10, 1000, "luod: one more file at 1,000, to one more at 10",
                limit: 1.2),
            target(
                "files", "one more", "files", 100, 10_000, "one more file at 10,000, to one more at 100", limit: 1.2),
            target(
                "sessions", "one more", "sessions", 100, 10_000, "one more session at 10,000, to one more at 100",
                limit: 1.2),
        ].compactMap(\.self)
    }

    /// The memory of luod's processes.
    private static func memory(_ measurements: [BenchMeasurement]) -> [BenchTarget] {
        let keeping = measurements.first {
            $0.scenario == "update" && $0.name == "luod: preserve" && $0.parameters["files"] == 1000
        }
        guard let resident = keeping?.counted["resident bytes"] else { return [] }
        return [
            BenchTarget(
                scenario: "update", name: "luod: resident memory of both processes with 1,000 files, to 24 MiB",
                value: resident / Double(24 << 20), limit: 1)
        ]
    }

    /// The ratios of other tools' times to ours, for the same memory.
    private static func comparisons(_ measurements: [BenchMeasurement]) -> [BenchTarget] {
        let compared = measurements.filter { $0.scenario == "compare" }
        func target(_ other: String, _ times: Double, where fits: (BenchMeasurement) -> Bool) -> BenchTarget? {
            guard let theirs = compared.first(where: { $0.name == other && fits($0) }),
                let ours = compared.first(where: { $0.name == "liveupdate" && $0.parameters == theirs.parameters })
            else { return nil }
            return BenchTarget(
                scenario: "compare", name: "times faster than \(theirs.label)",
                value: theirs.ours.median / ours.ours.median, limit: times, isUpperLimit: false)
        }
        return [
            target("memcpy, fresh", 20) { $0.parameters["bytes"] == 1 << 30 },
            target("systemd store", 20) { $0.parameters["descriptors"] == 1000 },
            target("criu", 150) { $0.parameters["bytes"] == 256 << 20 },
        ].compactMap(\.self)
    }
}

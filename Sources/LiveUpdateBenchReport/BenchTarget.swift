// SPDX-License-Identifier: Apache-2.0

/// A limit that this project promises, and the value that one run reached.
package struct BenchTarget: Codable, Equatable, Sendable {
    /// As in ``BenchMeasurement``.
    package var scenario: String
    /// The promise as a sentence, with its limit.
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
                scenario: measurement.scenario,
                name: "\(measurement.subject) takes at most \(times(limit)) as long as the floor", value: ratio,
                limit: limit)
        }
    }

    /// A limit in words.
    private static func times(_ limit: Double) -> String {
        "\(Decimal.significant(limit, keepingZeros: false)) times"
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
            _ scenario: String, _ name: String, _ parameter: String, _ few: UInt64, _ many: UInt64,
            _ work: String, _ sizes: String, limit: Double, page: UInt64? = nil
        ) -> BenchTarget? {
            guard let low = median(scenario, name, parameter, few, page: page), low > 0,
                let high = median(scenario, name, parameter, many, page: page)
            else { return nil }
            return BenchTarget(
                scenario: scenario, name: "\(work) takes at most \(times(limit)) as long \(sizes)", value: high / low,
                limit: limit)
        }
        func blackout(_ name: String, _ work: String) -> BenchTarget? {
            target(
                "update", name, "bytes", 256 << 20, 4 << 30, work, "with 4 GiB as with 256 MiB", limit: 1.1,
                page: 2 << 20)
        }
        return [
            blackout("blackout", "the blackout of an update by execve"),
            blackout("hand-over: blackout", "the blackout of a hand-over"),
            blackout("luod, loaded: blackout", "the blackout of luod with a loaded image"),
            target(
                "update", "luod: preserve", "files", 10, 1000, "preserving one more file in luod",
                "beside 1,000 files as beside 10", limit: 1.2),
            target(
                "files", "one more", "files", 100, 10_000, "preserving one more file",
                "beside 10,000 files as beside 100", limit: 1.2),
            target(
                "sessions", "one more", "sessions", 100, 10_000, "creating one more session",
                "beside 10,000 sessions as beside 100", limit: 1.2),
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
                scenario: "update", name: "the two processes of luod together have at most 24 MiB with 1,000 files",
                value: resident / Double(24 << 20), limit: 1)
        ]
    }

    /// The ratios of other tools' times to ours, for the same memory.
    private static func comparisons(_ measurements: [BenchMeasurement]) -> [BenchTarget] {
        func target(
            _ tool: String, _ words: String, _ limit: Double, where fits: (BenchMeasurement) -> Bool
        ) -> BenchTarget? {
            guard let pair = measurements.comparisons(with: tool).first(where: { fits($0.theirs) }) else { return nil }
            return BenchTarget(
                scenario: "compare",
                name: "preserving and updating \(pair.theirs.conditions.joined(separator: ", ")) "
                    + "is at least \(times(limit)) faster than \(words)",
                value: pair.theirs.ours.median / pair.ours.ours.median, limit: limit, isUpperLimit: false)
        }
        return [
            target("memcpy, fresh", "copying with memcpy", 20) { $0.parameters["bytes"] == 1 << 30 },
            target("systemd store", "systemd's descriptor store", 20) { $0.parameters["descriptors"] == 1000 },
            target("criu", "CRIU", 150) { $0.parameters["bytes"] == 256 << 20 },
        ].compactMap(\.self)
    }
}

extension BenchMeasurement {
    /// The measured work as the subject of a sentence, in the words of README.md: `an update by execve with 253 files`.
    fileprivate var subject: String {
        let conditions = conditions.joined(separator: ", ") + (conditions.count > 1 ? "," : "")
        return switch (scenario, name) {
        case ("hugetlb", "preserve"), ("memfd", "preserve"): "preserving \(conditions)"
        case ("update", "cycle"): "an update by execve with \(conditions)"
        case ("update", "hand-over: blackout"): "the blackout of a hand-over with \(conditions)"
        case ("update", "luod: blackout"): "the blackout of luod with \(conditions)"
        case ("update", "luod, loaded: blackout"): "the blackout of luod with a loaded image and \(conditions)"
        case ("update", "luod: preserve"): "preserving one more file in luod beside \(conditions)"
        case ("run", "another file's open"): "an open of another file under luoctl run, on \(conditions),"
        case ("run", _): "\(name) under luoctl run, on \(conditions),"
        case ("verify", "crc32c"): "the CRC32C of \(conditions)"
        default: conditions.isEmpty ? name : "\(name), \(conditions)"
        }
    }
}

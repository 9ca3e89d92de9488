// SPDX-License-Identifier: Apache-2.0
import LiveUpdateBenchReport
import LiveUpdateCommandLine

/// The result of a run, for people.
struct BenchText {
    private let document: BenchDocument

    init(_ document: BenchDocument) { self.document = document }

    var text: String {
        var parts = [Headline(document).text, machine]
        for scenario in BenchScenario.allCases {
            let measurements = document.measurements.filter { $0.scenario == scenario.rawValue }
            if !measurements.isEmpty { parts.append("\(scenario.rawValue)\n\(Self.table(measurements))") }
        }
        if !document.projections.isEmpty { parts.append(projections) }
        if !document.targets.isEmpty { parts.append(targets) }
        if !document.absent.isEmpty { parts.append(absent) }
        if !document.warnings.isEmpty {
            parts.append(document.warnings.map { Style.notice("doubtful: ") + $0 }.joined(separator: "\n"))
        }
        parts.append("measured in \(fixed(document.seconds, 1)) s; times are medians, and the quartiles around them")
        return parts.joined(separator: "\n\n")
    }

    private var machine: String {
        let machine = document.machine
        let virtual = machine.hypervisor.map { ", virtual (\($0))" } ?? ""
        let pools = machine.pools.map { "\($0.free) of \($0.total) pages of \(ByteCount.text($0.page)) free" }
        return """
            \(machine.kernel), \(machine.processors) x \(machine.processor)\(virtual), \(machine.nodes) nodes, \
            \(ByteCount.text(machine.memory))
            load \(machine.load.map { fixed($0, 2) }.joined(separator: " ")); \(pools.joined(separator: ", "))
            """
    }

    // MARK: Measurements

    private static let parameterNames = ["bytes", "page", "files", "sessions", "descriptors", "processors", "holes"]

    private static func table(_ measurements: [BenchMeasurement]) -> String {
        let parameters = parameterNames.filter { name in measurements.contains { $0.parameters[name] != nil } }
        var table = Table([""] + parameters + ["ours", "quartiles", "99 %", "floor", "quartiles", "ratio", "limit"])
        for measurement in measurements {
            table.add(
                [measurement.name] + parameters.map { parameter($0, measurement) }
                    + [
                        time(measurement.ours.median), quartiles(measurement.ours), time(measurement.ours.percentile99),
                        measurement.floor.map { time($0.median) } ?? "", measurement.floor.map(quartiles) ?? "",
                        measurement.ratio.map { fixed($0, 2) } ?? "", limit(measurement),
                    ])
        }
        return table.text
    }

    private static func parameter(_ name: String, _ measurement: BenchMeasurement) -> String {
        guard let value = measurement.parameters[name] else { return "" }
        return switch name {
        case "bytes", "page": ByteCount.text(value)
        case "holes": "\(value) %"
        default: "\(value)"
        }
    }

    private static func limit(_ measurement: BenchMeasurement) -> String {
        guard let limit = measurement.ratioLimit, let ratio = measurement.ratio else { return "" }
        return fixed(limit, 2) + (ratio > limit ? ", over it" : "")
    }

    /// Formats a time with three digits and a readable unit.
    static func time(_ nanoseconds: Double) -> String {
        for (scale, unit) in [(1e9, "s"), (1e6, "ms"), (1e3, "µs")] where nanoseconds >= scale {
            let value = nanoseconds / scale
            return "\(fixed(value, value >= 100 ? 0 : value >= 10 ? 1 : 2)) \(unit)"
        }
        return "\(fixed(nanoseconds, 0)) ns"
    }

    private static func quartiles(_ distribution: BenchDistribution) -> String {
        "\(time(distribution.lowerQuartile)) – \(time(distribution.upperQuartile))"
    }

    // MARK: The rest

    private var projections: String {
        var table = Table(["", "bytes", "page", "time", "arena", "measured from", "to"])
        for item in document.projections {
            table.add([
                item.name, ByteCount.text(item.bytes), ByteCount.text(item.page), Self.time(item.time),
                ByteCount.text(UInt64(item.arena)), ByteCount.text(item.measuredFrom), ByteCount.text(item.measuredTo),
            ])
        }
        return "projected from the slopes, not measured\n\(table.text)"
    }

    private var targets: String {
        var table = Table(["promise", "reached", ""])
        for target in document.targets {
            table.add([target.name, fixed(target.value, 2), target.isMet ? "met" : "missed"])
        }
        return table.text
    }

    private var absent: String {
        document.absent.map { "not measured: \($0.scenario): \($0.name): \($0.reason); \($0.remedy)" }
            .joined(separator: "\n")
    }
}

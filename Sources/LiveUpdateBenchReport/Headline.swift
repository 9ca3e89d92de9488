// SPDX-License-Identifier: Apache-2.0

/// The three figures that a reader of a result looks for first: the blackout, its growth with the memory, and how many
/// times faster an update is than other ways to keep the same memory.
///
/// The page and the text of a run begin with them.
package struct Headline: Equatable, Sendable {
    /// A figure in words.
    package struct Line: Equatable, Sendable {
        /// The figure with its unit, such as `2.66 ms`; nil if the run did not measure it.
        package let figure: String?
        /// The meaning of the figure. It continues the figure: `2.66 ms`, `blackout of an update of luod`.
        package let meaning: String
        /// The times behind the figure and beside it. For a missing figure, the reason or the command that measures it.
        package let comparison: String
    }

    /// The blackout of an update with the largest number of small files that was measured.
    package let blackout: Line
    /// The difference between the blackouts with the smallest and with the largest memory.
    package let growth: Line
    /// The comparisons with copying, with systemd's descriptor store and with CRIU, in this order.
    package let speedups: [Line]

    /// Computes the figures of a document.
    package init(_ document: BenchDocument) {
        let kinds = Update.allCases.map { kind in
            (kind, document.measurements.filter { $0.scenario == "update" && $0.name == kind.rawValue })
        }
        blackout = kinds.lazy.compactMap { Self.blackout($0, $1) }.first ?? Self.missingBlackout
        growth = kinds.lazy.compactMap { Self.growth($0, $1) }.first ?? Self.missingGrowth
        speedups = Tool.allCases.map { Self.speedup($0, document) }
    }

    package var lines: [Line] { [blackout, growth] + speedups }
}

// MARK: The blackout

extension Headline {
    /// The ways to update that have a blackout. The first one that was measured gives the figures.
    private enum Update: String, CaseIterable {
        case loadedDaemon = "luod, loaded: blackout"
        case daemon = "luod: blackout"
        case handOver = "hand-over: blackout"
        case execve = "blackout"

        var name: String {
            switch self {
            case .loadedDaemon, .daemon: "an update of luod"
            case .handOver: "a hand-over"
            case .execve: "an update by execve"
            }
        }

        var floor: String {
            switch self {
            case .loadedDaemon, .daemon: "a C program that hands them to a keeper, ends and is started again"
            case .handOver, .execve: "a C program that keeps them over execve"
            }
        }
    }

    private static func blackout(_ kind: Update, _ measurements: [BenchMeasurement]) -> Line? {
        let measured = measurements.filter { isTime($0.ours.median) && $0.parameters["files"] != nil }
        // Where two results have as many files, the one with less memory is shown: the next figure is about the memory.
        let shown = measured.max {
            ($0.number("files"), $1.number("bytes")) < ($1.number("files"), $0.number("bytes"))
        }
        guard let shown else { return nil }
        let floor = shown.floor.map { "; \(kind.floor) takes \(Quantity.time.text($0.median))" } ?? ""
        return Line(
            figure: Quantity.time.text(shown.ours.median),
            meaning: "blackout of \(kind.name) with \(Parameters.text("files", shown.number("files")))",
            comparison: "for this long, no client is served\(floor)")
    }

    private static var missingBlackout: Line {
        Line(figure: nil, meaning: "blackout: not measured", comparison: "luoctl bench update measures it")
    }

    private static func growth(_ kind: Update, _ measurements: [BenchMeasurement]) -> Line? {
        let sweeps = Sweep.along("bytes", in: measurements.filter { isTime($0.ours.median) })
        let pairs = sweeps.compactMap { sweep in sweep.measurements.first.map { ($0, sweep.measurements.last ?? $0) } }
        func factor(_ pair: (small: BenchMeasurement, large: BenchMeasurement)) -> Double {
            Double(pair.large.number("bytes")) / Double(max(pair.small.number("bytes"), 1))
        }
        guard
            let widest: (small: BenchMeasurement, large: BenchMeasurement) = pairs.max(by: { factor($0) < factor($1) })
        else { return nil }
        let (small, large) = (widest.small.ours, widest.large.ours)
        let difference = large.median - small.median
        // Overlapping quartiles show no difference.
        let isNoise = large.lowerQuartile <= small.upperQuartile && small.lowerQuartile <= large.upperQuartile
        let sizes = [widest.small, widest.large].map { Parameters.text("bytes", $0.number("bytes")) }
        return Line(
            figure: (difference < 0 ? "−" : "+") + Quantity.time.text(abs(difference)),
            meaning: "blackout of \(kind.name) with \(sizes[1]) instead of \(sizes[0])",
            comparison: "\(Quantity.time.text(small.median)) with \(sizes[0]), "
                + "\(Quantity.time.text(large.median)) with \(sizes[1])"
                + (isNoise ? "; the difference is within the noise" : ""))
    }

    private static var missingGrowth: Line {
        Line(
            figure: nil, meaning: "growth of the blackout with the memory: not measured",
            comparison: "luoctl bench update measures it with --max-memory 256M or more, and with huge pages")
    }

    private static func isTime(_ value: Double) -> Bool { value.isFinite && value > 0 }
}

// MARK: The comparisons

extension Headline {
    /// The other ways to keep memory.
    private enum Tool: String, CaseIterable {
        case memcpy = "memcpy, fresh"
        case store = "systemd store"
        case criu

        var name: String {
            switch self {
            case .memcpy: "copying with memcpy"
            case .store: "systemd's descriptor store"
            case .criu: "CRIU"
            }
        }

        /// The beginning of the name under which a document lists the tool as absent.
        var absence: String { self == .memcpy ? "memcpy" : rawValue }
    }

    private static func speedup(_ tool: Tool, _ document: BenchDocument) -> Line {
        // Larger sizes and larger pages come first.
        let pairs = document.measurements.comparisons(with: tool.rawValue).sorted { one, other in
            let (one, other) = (one.theirs, other.theirs)
            return (one.number("descriptors"), one.number("bytes"), one.number("page"))
                > (other.number("descriptors"), other.number("bytes"), other.number("page"))
        }
        guard let pair = pairs.first(where: { isTime($0.ours.ours.median) && isTime($0.theirs.ours.median) }) else {
            let absence = document.absent.first { $0.scenario == "compare" && $0.name.hasPrefix(tool.absence) }
            return Line(
                figure: nil, meaning: "\(tool.name): not compared",
                comparison: absence?.reason ?? "luoctl bench compare compares with it")
        }
        let (ours, theirs) = (pair.ours.ours.median, pair.theirs.ours.median)
        let times = max(ours, theirs) / min(ours, theirs)
        let relation = times < 1.05 ? "as fast as" : theirs > ours ? "faster than" : "slower than"
        let subject = pair.theirs.conditions.joined(separator: ", ")
        return Line(
            figure: (times < 9.95 ? Decimal.fixed(times, decimals: 1) : Decimal.grouped(times)) + " times",
            meaning: "\(relation) \(tool.name)",
            comparison: "\(Quantity.time.text(ours)) instead of \(Quantity.time.text(theirs))"
                + (subject.isEmpty ? "" : ", for \(subject)"))
    }
}

extension [BenchMeasurement] {
    /// The results of another tool in `compare`, each with our result for the same memory.
    ///
    /// Ours is measured in turn with the other tool, so the last of ours before it is the right one.
    func comparisons(with tool: String) -> [(ours: BenchMeasurement, theirs: BenchMeasurement)] {
        indices.filter { self[$0].scenario == "compare" && self[$0].name == tool }.compactMap { index in
            let theirs = self[index]
            let ours = self[..<index].last {
                $0.scenario == "compare" && $0.isOurs && $0.parameters == theirs.parameters
            }
            return ours.map { ($0, theirs) }
        }
    }
}

extension BenchMeasurement {
    /// A parameter; 0 if the measurement does not have it.
    fileprivate func number(_ parameter: String) -> UInt64 { parameters[parameter] ?? 0 }
}

// MARK: The text

extension Headline {
    /// The figures for a terminal, one below the other.
    package var text: String {
        let width = lines.map { $0.figure?.count ?? 1 }.max() ?? 0
        return lines.map { line in
            let figure = line.figure ?? "–"
            let room = String(repeating: " ", count: width - figure.count)
            return "\(room)\(figure)  \(line.meaning); \(line.comparison)"
        }.joined(separator: "\n")
    }
}

/// The sizes at which the blackout is measured.
package enum BlackoutSizes {
    /// Chooses two of the possible sizes, so that the growth of the blackout is visible: 256 MiB and the largest, or
    /// the smallest and the largest if nothing is larger than 256 MiB.
    ///
    /// - Parameter sizes: the possible sizes in bytes, in ascending order.
    /// - Returns: the two sizes, in ascending order; fewer if there are fewer.
    package static func chosen(from sizes: [UInt64]) -> [UInt64] {
        guard let smallest = sizes.first, let largest = sizes.last else { return [] }
        let small = sizes.contains(256 << 20) && largest > 256 << 20 ? 256 << 20 : smallest
        return small == largest ? [largest] : [small, largest]
    }
}

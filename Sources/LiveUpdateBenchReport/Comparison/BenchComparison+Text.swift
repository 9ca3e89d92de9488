// SPDX-License-Identifier: Apache-2.0
extension BenchComparison {
    /// The comparison for people: the changes, the worst first, and then the measurements that only one run has.
    package var text: String {
        let parts = [
            warnings.map { "warning: \($0)" }.joined(separator: "\n"), table, summary,
            Self.list("only in the older run", onlyInOld), Self.list("only in the newer run", onlyInNew),
        ]
        return parts.filter { !$0.isEmpty }.joined(separator: "\n\n")
    }

    /// The changes that deserve a look. The summary only counts the others.
    private var table: String {
        let shown = changes.filter { $0.verdict != .unchanged && $0.verdict != .incomparable }
        guard !shown.isEmpty else { return "" }
        var table = TextTable(["verdict", "change", "floor", "old", "new", "what"], right: [1, 2, 3, 4])
        for change in shown { table.add(change.row) }
        return table.text
    }

    private var summary: String {
        func count(_ verdict: BenchChange.Verdict) -> Int { changes.count { $0.isOurs && $0.verdict == verdict } }
        let counts = [
            "\(count(.regression)) worse", "\(count(.improvement)) better", "\(count(.noise)) within the noise",
            "\(count(.unchanged)) unchanged (within \(Quantity.percent.text(tolerance * 100)))",
        ]
        let incomparable = changes.count { $0.verdict == .incomparable }
        return (counts + (incomparable == 0 ? [] : ["\(incomparable) without a floor, not compared"]))
            .joined(separator: ", ")
    }

    private static func list(_ heading: String, _ unmatched: [Unmatched]) -> String {
        guard !unmatched.isEmpty else { return "" }
        let lines = unmatched.map { "  " + words($0.scenario, $0.name, $0.parameters) }
        return "\(heading):\n" + lines.joined(separator: "\n")
    }

    fileprivate static func words(_ scenario: String, _ name: String, _ parameters: [String: UInt64]) -> String {
        let suffix = parameters.isEmpty ? "" : ", \(Parameters.text(parameters))"
        return "\(scenario): \(name)\(suffix)"
    }
}

extension BenchChange {
    fileprivate var row: [String] {
        let what = BenchComparison.words(scenario, name, parameters) + (counted.map { ": \($0)" } ?? "")
        return [
            verdictText, change.map { Quantity.change($0) } ?? "from 0", floorChange.map { Quantity.change($0) } ?? "",
            text(old), text(new), what,
        ]
    }

    private var verdictText: String {
        let text =
            switch verdict {
            case .regression: "worse"
            case .improvement: "better"
            case .noise: "noise"
            case .unchanged, .incomparable: verdict.rawValue
            }
        return isOurs ? text : "(\(text))"
    }

    private func text(_ value: Double) -> String {
        switch basis {
        case .time: Quantity.time.text(value)
        case .ratioToFloor: Quantity.ratio(value)
        case .count: Quantity.count.text(value)
        }
    }
}

/// A table of text columns.
struct TextTable {
    private var rows: [[String]]
    private let right: Set<Int>

    /// Begins a table with its header. The columns in `right` are right-aligned.
    init(_ header: [String], right: Set<Int>) {
        rows = [header]
        self.right = right
    }

    mutating func add(_ row: [String]) { rows.append(row) }

    var text: String {
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in line(row, widths) }.joined(separator: "\n")
    }

    private func line(_ row: [String], _ widths: [Int]) -> String {
        let cells = row.indices.map { column in
            let padding = String(repeating: " ", count: widths[column] - row[column].count)
            return right.contains(column) ? padding + row[column] : row[column] + padding
        }
        var text = cells.joined(separator: "  ")
        while text.last == " " { text.removeLast() }
        return text
    }
}

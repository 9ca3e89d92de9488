// SPDX-License-Identifier: Apache-2.0

/// A chart of the parts of times, end to end. Parts are shares of the whole, so short times are as visible as long
/// ones.
struct StackedChart: Chart {
    struct Row {
        let label: String
        let parts: [(name: String, time: Double)]

        var total: Double { parts.reduce(0) { $0 + $1.time } }
    }

    let title: String
    let rows: [Row]

    var description: String {
        let words = rows.map { row in
            let parts = row.parts.map { "\($0.name) \(Quantity.time.text($0.time))" }
            return "\(row.label): \(parts.joined(separator: ", "))"
        }
        return "\(title). \(words.joined(separator: ". "))"
    }

    /// The number of colours that can be told apart. Further parts begin again with the first.
    static let colours = 8
    private static let barHeight = 16.0
    private static let rowGap = 8.0

    /// The name of each part once, in the order of the parts.
    private var names: [String] {
        rows.flatMap { $0.parts.map(\.name) }.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
    }

    func drawing() -> Drawing? {
        let rows = rows.map { row in Row(label: row.label, parts: row.parts.filter { Scale.canShow($0.time, .linear) })
        }
        .filter { Scale.canShow($0.total, .logarithmic) }
        guard !rows.isEmpty else { return nil }
        let x = Scale.across([100], .linear, .percent)
        let key = keyPlaces()
        var bars: [ClosedRange<Double>] = []
        var bottom = key.height + 4
        for row in rows {
            let top = bottom + label(row).height
            bars.append(top...top + Self.barHeight)
            bottom = top + Self.barHeight + Self.rowGap
        }
        var drawing = Drawing(width: Layout.width, height: bottom + Layout.axisHeight)
        drawing.horizontalAxis(
            x, through: bars.map { $0.lowerBound...$0.upperBound + 3 }, bottom: bottom, title: "share of the time")
        for place in key.places { draw(place, in: &drawing) }
        for (row, bar) in zip(rows, bars) {
            let label = label(row)
            label.draw(top: bar.lowerBound - label.height, in: &drawing)
            draw(row, x, top: bar.lowerBound, in: &drawing)
        }
        return drawing
    }

    private func label(_ row: Row) -> RowLabel { RowLabel(row.label, Quantity.time.text(row.total)) }

    private func style(_ name: String) -> String { "part\((names.firstIndex(of: name) ?? 0) % Self.colours)" }

    private func draw(_ row: Row, _ x: Scale, top: Double, in drawing: inout Drawing) {
        var sum = 0.0
        func share(_ time: Double) -> Double { time / row.total * 100 }
        for part in row.parts {
            let (start, end) = (x.position(share(sum)), x.position(share(sum + part.time)))
            sum += part.time
            drawing.rectangle(start, top, end - start, Self.barHeight, "part \(style(part.name))")
            // The name is inside its part if it fits.
            if TextMetrics.width(part.name) + 4 <= end - start {
                drawing.text(
                    (start + end) / 2, top + 12, .middle, "label inside \(style(part.name))",
                    part.name)
            }
        }
    }

    /// Places the names above the plot, in as many lines as they need.
    private func keyPlaces() -> (places: [(name: String, lines: [String], x: Double, y: Double)], height: Double) {
        var places: [(name: String, lines: [String], x: Double, y: Double)] = []
        var (x, y, height) = (0.0, 0.0, 0.0)
        for name in names {
            let lines = TextMetrics.wrapped(name, into: Layout.width - 16)
            let width = 16 + (lines.map(TextMetrics.width).max() ?? 0)
            if x > 0, x + width > Layout.width { (x, y) = (0, height) }
            places.append((name, lines, x, y))
            height = max(height, y + Double(lines.count) * TextMetrics.lineHeight + 2)
            x += width + Layout.gap
        }
        return (places, height)
    }

    private func draw(_ key: (name: String, lines: [String], x: Double, y: Double), in drawing: inout Drawing) {
        drawing.rectangle(key.x, key.y + 2, 10, 10, "part \(style(key.name))")
        for (index, line) in key.lines.enumerated() {
            drawing.text(key.x + 15, key.y + 11 + Double(index) * TextMetrics.lineHeight, .start, "label", line)
        }
    }
}

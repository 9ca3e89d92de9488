// SPDX-License-Identifier: Apache-2.0

/// A chart of distributions below each other, each from its minimum to its maximum, with the values between.
struct RangeChart: Chart {
    struct Row {
        let label: String
        let ranges: [(name: String, tone: Tone, distribution: BenchDistribution)]
    }

    let title: String
    let rows: [Row]

    /// An explanation of the marks.
    static let key = """
        Thin line: minimum to maximum. Thick line: quartiles. Mark: median (round ours, square the floor). \
        Stroke: 99th percentile.
        """

    var description: String {
        let parts = rows.map { row in
            let ranges = row.ranges.map { range in
                "\(range.name) median \(Quantity.time.text(range.distribution.median)), maximum "
                    + Quantity.time.text(range.distribution.maximum)
            }
            return "\(row.label): \(ranges.joined(separator: "; "))"
        }
        return "\(title), distribution of the time. \(parts.joined(separator: ". "))"
    }

    private static let rangeHeight = 15.0
    private static let rowGap = 6.0

    func drawing() -> Drawing? {
        let values = rows.flatMap { $0.ranges.flatMap(\.distribution.shown) }.filter { Scale.canShow($0, .logarithmic) }
        guard !values.isEmpty else { return nil }
        let names = rows.flatMap { $0.ranges.map { TextMetrics.width($0.name) } }
        let x = scale(values, names: names.max() ?? 0)
        var bands: [ClosedRange<Double>] = []
        var bottom = 0.0
        for row in rows {
            let top = bottom + label(row).height
            bands.append(top...top + Double(row.ranges.count) * Self.rangeHeight)
            bottom = top + Double(row.ranges.count) * Self.rangeHeight + Self.rowGap
        }
        var drawing = Drawing(width: Layout.width, height: bottom + Layout.axisHeight)
        drawing.horizontalAxis(x, through: bands, bottom: bottom, title: "time, logarithmic")
        for (row, band) in zip(rows, bands) {
            let label = label(row)
            label.draw(top: band.lowerBound - label.height, in: &drawing)
            draw(row, x, top: band.lowerBound, in: &drawing)
        }
        return drawing
    }

    private func label(_ row: Row) -> RowLabel {
        RowLabel(row.label, Quantity.time.text(row.ranges.first?.distribution.median ?? 0))
    }

    /// A scale that leaves room for the names of the ranges at its right.
    private func scale(_ values: [Double], names: Double) -> Scale {
        let across = Scale.across(values, .logarithmic, .time)
        let end = min(across.end, Layout.width - names - Layout.gap)
        return Scale(values, .logarithmic, .time, from: across.start, to: end)
    }

    private func draw(_ row: Row, _ x: Scale, top: Double, in drawing: inout Drawing) {
        for (index, range) in row.ranges.enumerated() {
            let y = top + (Double(index) + 0.5) * Self.rangeHeight
            let found = range.distribution
            guard Scale.canShow(found.median, .logarithmic) else { continue }
            let tone = range.tone.rawValue
            drawing.line(x.position(found.minimum), y, x.position(found.maximum), y, "whisker \(tone)")
            drawing.line(x.position(found.lowerQuartile), y, x.position(found.upperQuartile), y, "box \(tone)")
            let percentile = x.position(found.percentile99)
            drawing.line(percentile, y - 5, percentile, y + 5, "whisker \(tone)")
            drawing.mark(range.tone, x.position(found.median), y)
            drawing.text(x.end + Layout.gap, y + 4, .start, "label \(tone)", range.name)
        }
    }
}

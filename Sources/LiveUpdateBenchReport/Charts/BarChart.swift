// SPDX-License-Identifier: Apache-2.0

/// A chart of times that differ much, on a logarithmic scale.
struct BarChart: Chart {
    struct Bar {
        let label: String
        let tone: Tone
        let time: Double
        /// A text beside the time: the ratio to our time.
        var remark = ""
    }
    /// Bars that are compared with each other.
    struct Group {
        let heading: String
        let bars: [Bar]
    }

    let title: String
    let groups: [Group]

    var description: String {
        let parts = groups.map { group in
            let bars = group.bars.map { "\($0.label) \(Quantity.time.text($0.time)) \($0.remark)" }
            return "\(group.heading): \(bars.joined(separator: ", "))"
        }
        return "\(title). \(parts.joined(separator: ". "))"
    }

    private static let headingHeight = 20.0
    private static let labelHeight = 15.0
    private static let barHeight = 12.0
    private static let barGap = 6.0
    private static let groupGap = 6.0

    func drawing() -> Drawing? {
        let times = groups.flatMap { $0.bars.map(\.time) }.filter { Scale.canShow($0, .logarithmic) }
        guard let least = times.min() else { return nil }
        // Half of the least time begins the scale, so that the bar of the least time is visible, too.
        let x = Scale.across(times + [least / 2], .logarithmic, .time)
        let bar = Self.labelHeight + Self.barHeight + Self.barGap
        let bottom = groups.reduce(0) { $0 + Self.headingHeight + Double($1.bars.count) * bar + Self.groupGap }
        var drawing = Drawing(width: Layout.width, height: bottom + Layout.axisHeight)
        drawing.horizontalAxis(x, top: 0, bottom: bottom, title: "time, logarithmic")
        var y = 0.0
        for group in groups {
            drawing.text(
                0, y + 14, .start, "label strong halo", TextMetrics.fitted(group.heading, into: Layout.width))
            y += Self.headingHeight
            for one in group.bars {
                draw(one, x, top: y, in: &drawing)
                y += bar
            }
            y += Self.groupGap
        }
        return drawing
    }

    private func draw(_ bar: Bar, _ x: Scale, top: Double, in drawing: inout Drawing) {
        let value = [Quantity.time.text(bar.time), bar.remark].filter { !$0.isEmpty }.joined(separator: " · ")
        drawing.rowLabel(bar.label, value, top: top)
        guard Scale.canShow(bar.time, .logarithmic) else { return }
        let y = top + Self.labelHeight
        drawing.rectangle(
            x.start, y, x.position(bar.time) - x.start, Self.barHeight, "bar \(bar.tone.rawValue)")
    }
}

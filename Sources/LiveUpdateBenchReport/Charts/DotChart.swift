// SPDX-License-Identifier: Apache-2.0

/// A chart of times that differ much, as dots on a logarithmic scale. The scale has no zero, so bars would have lengths
/// without a meaning.
struct DotChart: Chart {
    struct Dot {
        let label: String
        let tone: Tone
        let time: Double
        /// A text beside the time: the ratio to our time.
        var remark = ""
    }
    /// Dots that are compared with each other.
    struct Group {
        let heading: String
        let dots: [Dot]
    }

    let title: String
    let groups: [Group]

    var description: String {
        let parts = groups.map { group in
            let dots = group.dots.map { "\($0.label) \(Quantity.time.text($0.time)) \($0.remark)" }
            return "\(group.heading): \(dots.joined(separator: ", "))"
        }
        return "\(title). \(parts.joined(separator: ". "))"
    }

    private static let dotHeight = 14.0
    private static let dotGap = 4.0
    private static let groupGap = 8.0

    func drawing() -> Drawing? {
        let times = groups.flatMap { $0.dots.map(\.time) }.filter { Scale.canShow($0, .logarithmic) }
        guard !times.isEmpty else { return nil }
        let x = Scale.across(times, .logarithmic, .time)
        let rows = rows
        let bottom = (rows.last?.bottom ?? 0) + Self.groupGap
        var drawing = Drawing(width: Layout.width, height: bottom + Layout.axisHeight)
        let bands = rows.compactMap { row in row.dot.map { _ in row.bottom - Self.dotHeight...row.bottom } }
        drawing.horizontalAxis(x, through: bands, bottom: bottom, title: "time, logarithmic")
        for row in rows { draw(row, x, in: &drawing) }
        return drawing
    }

    /// A heading, or a dot with its label above it.
    private typealias Row = (top: Double, bottom: Double, label: RowLabel, dot: Dot?)

    private var rows: [Row] {
        var rows: [Row] = []
        var y = 0.0
        for group in groups {
            if !group.heading.isEmpty {
                let heading = RowLabel(group.heading)
                rows.append((y, y + heading.height, heading, nil))
                y += heading.height + Self.dotGap
            }
            for dot in group.dots {
                let value = [Quantity.time.text(dot.time), dot.remark].filter { !$0.isEmpty }.joined(separator: " · ")
                let label = RowLabel(dot.label, value)
                rows.append((y, y + label.height + Self.dotHeight, label, dot))
                y += label.height + Self.dotHeight + Self.dotGap
            }
            y += Self.groupGap
        }
        return rows
    }

    private func draw(_ row: Row, _ x: Scale, in drawing: inout Drawing) {
        row.label.draw(top: row.top, style: row.dot == nil ? "label strong" : "label", in: &drawing)
        guard let dot = row.dot, Scale.canShow(dot.time, .logarithmic) else { return }
        let y = row.bottom - Self.dotHeight / 2
        drawing.line(x.start, y, x.end, y, "grid")
        drawing.mark(dot.tone, x.position(dot.time), y, radius: 4.5)
    }
}

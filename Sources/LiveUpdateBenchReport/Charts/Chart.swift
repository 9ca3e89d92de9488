// SPDX-License-Identifier: Apache-2.0

/// A picture of some figures. Every chart is as wide as a phone's screen, so labels need no scaling there.
protocol Chart {
    /// Draws the chart; nil if it has nothing to show.
    func drawing() -> Drawing?
    /// The alternative text, with the same content as the picture.
    var description: String { get }
}

extension Chart {
    var svg: String? { drawing().map { $0.svg(description: description) } }
}

/// The kind of a time, which decides the look of its marks.
enum Tone: String, Sendable {
    case ours, floor, other, projected
}

/// Sizes that all charts share.
enum Layout {
    static let width = 328.0
    /// The gap between labels, and between a label and any other element.
    static let gap = 8.0
    /// The height below a plot for the labels of a horizontal axis and its title.
    static let axisHeight = 38.0
}

extension Drawing {
    /// Draws the axis below a plot, with lines through the plot.
    ///
    /// - Parameters:
    ///   - scale: the scale of the axis.
    ///   - bands: the parts of the plot, from top to bottom, through which the lines go. Labels are between them, so
    ///     that no line is behind a label.
    ///   - bottom: the lower end of the plot.
    ///   - title: the title of the axis.
    mutating func horizontalAxis(_ scale: Scale, through bands: [ClosedRange<Double>], bottom: Double, title: String) {
        for value in scale.ticks({ TextMetrics.width($0) + Layout.gap }) {
            let x = scale.position(value)
            for band in bands { line(x, band.lowerBound, x, band.upperBound, "grid") }
            // A mark at the axis joins the label below it to the lines above.
            line(x, bottom, x, bottom + 4, "axis")
            text(x, bottom + 19, .middle, "label", scale.quantity.tick(value))
        }
        line(scale.start, bottom, scale.end, bottom, "axis")
        text((scale.start + scale.end) / 2, bottom + 33, .middle, "label quiet", title)
    }

    /// Draws the axis left of a plot, with lines through the plot.
    mutating func verticalAxis(_ scale: Scale, left: Double, right: Double, title: String) {
        for value in scale.ticks({ _ in TextMetrics.lineHeight }) {
            let y = scale.position(value)
            line(left, y, right, y, "grid")
            text(left - 6, y + 4, .end, "label", scale.quantity.tick(value))
        }
        text(0, 10, .start, "label quiet", title)
    }
}

/// The name of a row at its left end, in as many lines as it needs, and the row's figure at the right end.
struct RowLabel {
    private let lines: [String]
    private let value: String

    init(_ name: String, _ value: String = "") {
        let room = Layout.width - (value.isEmpty ? 0 : TextMetrics.width(value) + Layout.gap)
        self.lines = TextMetrics.wrapped(name, into: room)
        self.value = value
    }

    var height: Double { Double(lines.count) * TextMetrics.lineHeight + 2 }

    func draw(top: Double, style: String = "label", in drawing: inout Drawing) {
        for (index, line) in lines.enumerated() {
            drawing.text(0, top + 11 + Double(index) * TextMetrics.lineHeight, .start, style, line)
        }
        drawing.text(drawing.width, top + 11, .end, "label strong", value)
    }
}

extension Scale {
    /// A scale from left to right through a whole drawing, with room for half of each outermost label.
    static func across(_ values: [Double], _ spacing: Spacing, _ quantity: Quantity) -> Scale {
        let bounds = Scale(values, spacing, quantity, from: 0, to: 1)
        func margin(_ value: Double) -> Double { TextMetrics.width(quantity.tick(value)) / 2 + 2 }
        return Scale(
            values, spacing, quantity, from: margin(bounds.lower), to: Layout.width - margin(bounds.upper))
    }
}

extension BenchDistribution {
    /// The values of the distribution that a picture shows.
    var shown: [Double] { [minimum, lowerQuartile, median, upperQuartile, percentile99, maximum] }
}

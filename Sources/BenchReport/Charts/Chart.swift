/// A picture of some figures. All are as wide as a phone's screen, so that their labels are read there as they are.
protocol Chart {
    /// Nil when there is nothing that a picture could show.
    func drawing() -> Drawing?
    /// What it shows, for those who do not see it.
    var description: String { get }
}

extension Chart {
    var svg: String? { drawing().map { $0.svg(description: description) } }
}

/// Who took the time: what its marks look like.
enum Tone: String, Sendable {
    case ours, floor, other, projected
}

/// Measures that all charts share.
enum Layout {
    static let width = 328.0
    /// Between labels, and between a label and what it is not part of.
    static let gap = 8.0
    /// Below a plot: the labels of a horizontal axis, and its title.
    static let axisHeight = 38.0
}

extension Drawing {
    /// The axis below a plot, with lines through the plot.
    mutating func horizontalAxis(_ scale: Scale, top: Double, bottom: Double, title: String) {
        for value in scale.ticks({ TextMetrics.width($0) + Layout.gap }) {
            let x = scale.position(value)
            line(x, top, x, bottom, "grid")
            text(x, bottom + 19, .middle, "label", scale.quantity.tick(value))
        }
        line(scale.start, bottom, scale.end, bottom, "axis")
        text((scale.start + scale.end) / 2, bottom + 33, .middle, "label quiet", title)
    }

    /// The axis left of a plot, with lines through the plot.
    mutating func verticalAxis(_ scale: Scale, left: Double, right: Double, title: String) {
        for value in scale.ticks({ _ in TextMetrics.lineHeight }) {
            let y = scale.position(value)
            line(left, y, right, y, "grid")
            text(left - 6, y + 4, .end, "label", scale.quantity.tick(value))
        }
        text(0, 10, .start, "label quiet", title)
    }
}

extension Scale {
    /// From left to right through a whole drawing, with room for half of the outermost labels.
    static func across(_ values: [Double], _ spacing: Spacing, _ quantity: Quantity) -> Scale {
        let bounds = Scale(values, spacing, quantity, from: 0, to: 1)
        func margin(_ value: Double) -> Double { TextMetrics.width(quantity.tick(value)) / 2 + 2 }
        return Scale(
            values, spacing, quantity, from: margin(bounds.lower), to: Layout.width - margin(bounds.upper))
    }
}

extension BenchDistribution {
    /// The values that a picture shows of it.
    var shown: [Double] { [minimum, lowerQuartile, median, upperQuartile, percentile99, maximum] }
}

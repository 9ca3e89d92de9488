// SPDX-License-Identifier: Apache-2.0

/// A chart of medians that grow with a parameter: points with their quartiles, joined by lines.
struct LineChart: Chart {
    struct Series {
        let name: String
        let tone: Tone
        let points: [(x: Double, y: BenchDistribution)]
    }

    let title: String
    let xTitle: String
    let xQuantity: Quantity
    let xSpacing: Scale.Spacing
    let series: [Series]

    var description: String {
        let parts = visible.map { series in
            let ends = [series.points.first, series.points.last].compactMap { $0 }
            let words = ends.map { "\(Quantity.time.text($0.y.median)) at \(xQuantity.text($0.x))" }
            return "\(series.name) from \(words.joined(separator: " to "))"
        }
        return "\(title) by \(xTitle): \(parts.joined(separator: "; "))"
    }

    /// The series without the points that logarithmic axes cannot show.
    private var visible: [Series] {
        series.map { series in
            let points = series.points.filter {
                Scale.canShow($0.x, xSpacing) && Scale.canShow($0.y.median, .logarithmic)
            }
            return Series(name: series.name, tone: series.tone, points: points.sorted { $0.x < $1.x })
        }.filter { !$0.points.isEmpty }
    }

    func drawing() -> Drawing? {
        let series = visible
        let points = series.flatMap(\.points)
        guard !points.isEmpty else { return nil }
        let top = 24.0
        let bottom = 190.0
        var drawing = Drawing(width: Layout.width, height: bottom + Layout.axisHeight)
        let times = points.flatMap { [$0.y.lowerQuartile, $0.y.median, $0.y.upperQuartile] }
        let y = Scale(
            times.filter { Scale.canShow($0, .logarithmic) }, .logarithmic, .time, from: bottom, to: top)
        let xs = points.map(\.x)
        let x = horizontalScale(xs, y, names: series.map(\.name))
        drawing.verticalAxis(y, left: x.start, right: x.end, title: "median time")
        drawing.horizontalAxis(x, through: [top...bottom], bottom: bottom, title: xTitle)
        for one in series { draw(one, x, y, in: &drawing) }
        label(series, x, y, in: &drawing)
        return drawing
    }

    /// The scale between the labels of the vertical axis and the labels of the lines.
    private func horizontalScale(_ values: [Double], _ y: Scale, names: [String]) -> Scale {
        let bounds = Scale(values, xSpacing, xQuantity, from: 0, to: 1)
        func half(_ value: Double) -> Double { TextMetrics.width(xQuantity.tick(value)) / 2 }
        let heights = y.ticks { _ in TextMetrics.lineHeight }.map { TextMetrics.width(Quantity.time.tick($0)) }
        let left = max((heights.max() ?? 0) + Layout.gap, half(bounds.lower) + 2)
        let right = max((names.map { TextMetrics.width($0) }.max() ?? 0) + Layout.gap + 2, half(bounds.upper) + 2)
        return Scale(values, xSpacing, xQuantity, from: left, to: Layout.width - right)
    }

    private func draw(_ series: Series, _ x: Scale, _ y: Scale, in drawing: inout Drawing) {
        let places = series.points.map { (x: x.position($0.x), y: y.position($0.y.median)) }
        drawing.polyline(places, "line \(series.tone.rawValue)")
        for (place, point) in zip(places, series.points) {
            let quartiles = (y.position(point.y.lowerQuartile), y.position(point.y.upperQuartile))
            drawing.line(place.x, quartiles.0, place.x, quartiles.1, "whisker \(series.tone.rawValue)")
            drawing.mark(series.tone, place.x, place.y)
        }
    }

    /// Draws each line's name right of the line's end.
    private func label(_ series: [Series], _ x: Scale, _ y: Scale, in drawing: inout Drawing) {
        let wanted = series.map { y.position($0.points.last?.y.median ?? 0) }
        let places = LabelSpreading.places(
            wanted, spacing: TextMetrics.lineHeight, in: min(y.start, y.end)...max(y.start, y.end))
        for (series, place) in zip(series, places) {
            drawing.text(x.end + Layout.gap, place + 4, .start, "label \(series.tone.rawValue)", series.name)
        }
    }
}

extension Drawing {
    /// Draws the mark of a median. Its shape tells the tone, too, and not its colour alone.
    mutating func mark(_ tone: Tone, _ x: Double, _ y: Double, radius: Double = 3.5) {
        switch tone {
        case .ours, .projected: circle(x, y, radius: radius, "mark \(tone.rawValue)")
        case .floor, .other:
            // A square of about the same area.
            let half = radius * 0.86
            rectangle(x - half, y - half, 2 * half, 2 * half, "mark \(tone.rawValue)")
        }
    }
}

/// Spreads labels in a column, so that they do not cover each other.
enum LabelSpreading {
    /// Computes the middles of the labels, each as near to its wanted place as the others allow.
    ///
    /// - Parameters:
    ///   - wanted: the wanted middles.
    ///   - spacing: the distance from one middle to the next.
    ///   - bounds: the bounds of all middles. If there is too little room, labels go beyond the upper bound.
    /// - Returns: the middles, in the order of `wanted`.
    static func places(_ wanted: [Double], spacing: Double, in bounds: ClosedRange<Double>) -> [Double] {
        let order = wanted.indices.sorted { (wanted[$0], $0) < (wanted[$1], $1) }
        var places = wanted
        // First moves labels back inside the upper bound. The second pass then keeps the lower bound even if room is
        // short.
        var limit = bounds.upperBound
        for index in order.reversed() {
            places[index] = min(places[index], limit)
            limit = places[index] - spacing
        }
        var free = bounds.lowerBound
        for index in order {
            places[index] = max(places[index], free)
            free = places[index] + spacing
        }
        return places
    }
}

/// Labels in a column that want to be at certain heights, and may not cover each other.
enum LabelSpreading {
    /// Their middles, in the order given: each as near to where it wants to be as the others let it.
    ///
    /// - Parameters:
    ///   - wanted: middles.
    ///   - spacing: from one middle to the next.
    ///   - bounds: of all middles. With less room than the labels need, they leave it at the lower end.
    static func places(_ wanted: [Double], spacing: Double, in bounds: ClosedRange<Double>) -> [Double] {
        let order = wanted.indices.sorted { (wanted[$0], $0) < (wanted[$1], $1) }
        var places = wanted
        // What was pushed out below pushes back first, so that the upper end holds when there is too little room.
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

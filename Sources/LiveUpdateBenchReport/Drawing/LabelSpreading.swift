// SPDX-License-Identifier: Apache-2.0

/// Spreads labels in a column, so that they do not cover each other.
enum LabelSpreading {
    /// Computes the middles of the labels, in the order given, each as near to its wanted place as the others allow.
    ///
    /// - Parameters:
    ///   - wanted: the wanted middles.
    ///   - spacing: the distance from one middle to the next.
    ///   - bounds: the bounds of all middles. If there is too little room, labels go beyond the upper bound.
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

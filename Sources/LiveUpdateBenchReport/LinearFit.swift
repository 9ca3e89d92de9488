// SPDX-License-Identifier: Apache-2.0

/// The straight line through some points, by least squares: the cost of one more, and the cost of none.
public struct LinearFit: Equatable, Sendable {
    /// The value at x = 0.
    public let intercept: Double
    /// The increase for each unit of x.
    public let slope: Double

    /// Fits a line. Nil if all points have the same x.
    public init?(_ points: [(x: Double, y: Double)]) {
        guard let first = points.first, points.contains(where: { $0.x != first.x }) else { return nil }
        let count = Double(points.count)
        let meanX = points.reduce(0) { $0 + $1.x } / count
        let meanY = points.reduce(0) { $0 + $1.y } / count
        let covariance = points.reduce(0) { $0 + ($1.x - meanX) * ($1.y - meanY) }
        let variance = points.reduce(0) { $0 + ($1.x - meanX) * ($1.x - meanX) }
        slope = covariance / variance
        intercept = meanY - slope * meanX
    }

    public func value(at x: Double) -> Double { intercept + slope * x }
}

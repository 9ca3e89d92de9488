/// The straight line through some points, by least squares: what one more of something costs, and what none costs.
public struct LinearFit: Equatable, Sendable {
    /// Of x = 0.
    public let intercept: Double
    /// Of each x more.
    public let slope: Double

    /// Nil without two different x.
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

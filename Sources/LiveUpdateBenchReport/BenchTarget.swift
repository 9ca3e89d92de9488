// SPDX-License-Identifier: Apache-2.0

/// A limit that this project promises, and the value that one run reached.
public struct BenchTarget: Codable, Equatable, Sendable {
    /// As in ``BenchMeasurement``.
    public var scenario: String
    /// The two compared things, in words.
    public var name: String
    /// The ratio that was measured.
    public var value: Double
    /// The promised limit of the value.
    public var limit: Double
    /// Whether the limit is an upper limit; otherwise it is a lower limit.
    public var isUpperLimit: Bool

    public init(scenario: String, name: String, value: Double, limit: Double, isUpperLimit: Bool = true) {
        self.scenario = scenario
        self.name = name
        self.value = value
        self.limit = limit
        self.isUpperLimit = isUpperLimit
    }

    public var isMet: Bool { isUpperLimit ? value <= limit : value >= limit }
}

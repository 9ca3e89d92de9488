/// What this project promises to reach, and what one run reached.
public struct BenchTarget: Codable, Equatable, Sendable {
    /// As in ``BenchMeasurement``.
    public var scenario: String
    /// What is compared with what, in words.
    public var name: String
    /// The ratio that was measured.
    public var value: Double
    /// What it is held against.
    public var limit: Double
    /// Whether the value is to be no more than the limit; else it is to be no less.
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

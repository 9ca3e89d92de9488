// SPDX-License-Identifier: Apache-2.0

/// A family of metrics in the text format of OpenMetrics 1.0. It does no I/O.
struct MetricFamily {
    enum Kind: String { case gauge, counter, histogram }

    /// One value with its labels.
    struct Sample {
        /// The end of the name behind the family's name, such as `_bucket`.
        var suffix = ""
        var labels: [(name: String, value: String)] = []
        var value: Double
    }

    /// The name, without `_total`. It ends with the unit, if there is one.
    let name: String
    let kind: Kind
    let unit: String?
    let help: String
    private(set) var samples: [Sample] = []

    init(_ name: String, _ help: String, as kind: Kind = .gauge, unit: String? = nil) {
        (self.name, self.kind, self.unit, self.help) = (name, kind, unit, help)
    }

    /// Adds a value. Labels with an empty value are left out, which means the same.
    mutating func add(_ value: Double, _ labels: KeyValuePairs<String, String> = [:], suffix: String? = nil) {
        samples.append(
            Sample(
                suffix: suffix ?? (kind == .counter ? "_total" : ""),
                labels: labels.filter { !$0.value.isEmpty }.map { (name: $0.key, value: $0.value) }, value: value))
    }

    /// The lines of the family; nothing without a value.
    var text: String {
        guard !samples.isEmpty else { return "" }
        let unit = unit.map { "# UNIT \(name) \($0)\n" } ?? ""
        let lines = samples.map { sample in
            let labels = sample.labels.map { "\($0.name)=\"\(Self.escaped($0.value))\"" }.joined(separator: ",")
            return "\(name)\(sample.suffix)\(labels.isEmpty ? "" : "{\(labels)}") \(Self.number(sample.value))\n"
        }
        return "# TYPE \(name) \(kind.rawValue)\n\(unit)# HELP \(name) \(Self.escaped(help))\n" + lines.joined()
    }

    /// A number, without a point where it has none.
    static func number(_ value: Double) -> String {
        if value == .infinity { return "+Inf" }
        return value.magnitude < 9_007_199_254_740_992 && value == value.rounded() ? "\(Int64(value))" : "\(value)"
    }

    private static func escaped(_ text: String) -> String {
        var escaped = ""
        for character in text.unicodeScalars {
            switch character {
            case "\\", "\"":
                escaped += "\\"
                escaped.unicodeScalars.append(character)
            case "\n": escaped += "\\n"
            default: escaped.unicodeScalars.append(character)
            }
        }
        return escaped
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Describes the parameters of a measurement in words.
enum Parameters {
    private static let order = ["bytes", "bytes each", "page", "files", "sessions", "descriptors", "holes"]

    /// All parameters, always in the same order: `1 GiB, 2 MiB pages, 4 files, no holes`.
    static func text(_ parameters: [String: UInt64]) -> String {
        sorted(parameters.keys).map { text($0, parameters[$0] ?? 0) }.joined(separator: ", ")
    }

    static func sorted(_ names: some Collection<String>) -> [String] {
        names.sorted { (rank($0), $0) < (rank($1), $1) }
    }

    private static func rank(_ name: String) -> Int { order.firstIndex(of: name) ?? order.count }

    static func text(_ name: String, _ value: UInt64) -> String {
        let figure = quantity(name).text(Double(value))
        return switch name {
        case "bytes": figure
        case "bytes each": "\(figure) each"
        case "page": "\(figure) pages"
        case "holes": value == 0 ? "no holes" : "\(figure) holes"
        case "files", "sessions", "descriptors", "processors": value == 1 ? "1 \(name.dropLast())" : "\(figure) \(name)"
        default: "\(name) \(figure)"
        }
    }

    /// The quantity of a parameter's values.
    static func quantity(_ name: String) -> Quantity {
        switch name {
        case "bytes", "bytes each", "page": .bytes
        case "holes": .percent
        default: .count
        }
    }

    /// The heading of a comparison along a parameter.
    static func heading(_ name: String) -> String {
        switch name {
        case "bytes": "by size"
        case "holes": "by share of holes"
        default: "by number of \(name)"
        }
    }

    /// The title of an axis that shows a parameter.
    static func axisTitle(_ name: String) -> String {
        switch name {
        case "bytes": "memory"
        case "page": "size of a page"
        case "holes": "share of holes"
        default: name
        }
    }
}

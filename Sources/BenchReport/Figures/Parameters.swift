/// Under what something was measured, in words.
enum Parameters {
    private static let order = ["bytes", "bytes each", "page", "files", "sessions", "descriptors", "holes"]

    /// All of them, in an order that is the same everywhere: `1 GiB, 2 MiB pages, 4 files, no holes`.
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
        case "files", "sessions", "descriptors": value == 1 ? "1 \(name.dropLast())" : "\(figure) \(name)"
        default: "\(name) \(figure)"
        }
    }

    /// What the values of a parameter are of.
    static func quantity(_ name: String) -> Quantity {
        switch name {
        case "bytes", "bytes each", "page": .bytes
        case "holes": .percent
        default: .count
        }
    }

    /// What a comparison along it is called.
    static func heading(_ name: String) -> String {
        switch name {
        case "bytes": "by size"
        case "holes": "by share of holes"
        default: "by number of \(name)"
        }
    }

    /// What an axis of it is called.
    static func axisTitle(_ name: String) -> String {
        switch name {
        case "bytes": "memory"
        case "page": "size of a page"
        case "holes": "share of holes"
        default: name
        }
    }
}

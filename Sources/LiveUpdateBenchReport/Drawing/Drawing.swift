// SPDX-License-Identifier: Apache-2.0

/// A picture in SVG, made of few kinds of elements. The page's style sets colours and fonts by class.
struct Drawing {
    let width: Double
    private(set) var height: Double
    private var elements: [String] = []

    /// The point of a label that is at its coordinates.
    enum Anchor: String {
        case start, middle, end
    }

    init(width: Double, height: Double) {
        self.width = width
        self.height = height
    }

    mutating func line(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, _ style: String) {
        add("<line x1=\"\(n(x1))\" y1=\"\(n(y1))\" x2=\"\(n(x2))\" y2=\"\(n(y2))\" class=\"\(style)\"/>")
    }

    mutating func polyline(_ points: [(x: Double, y: Double)], _ style: String) {
        let places = points.map { "\(n($0.x)),\(n($0.y))" }.joined(separator: " ")
        add("<polyline points=\"\(places)\" class=\"\(style)\"/>")
    }

    mutating func rectangle(_ x: Double, _ y: Double, _ width: Double, _ height: Double, _ style: String) {
        let size = "width=\"\(n(max(0, width)))\" height=\"\(n(height))\""
        add("<rect x=\"\(n(x))\" y=\"\(n(y))\" \(size) class=\"\(style)\"/>")
    }

    mutating func circle(_ x: Double, _ y: Double, radius: Double, _ style: String) {
        add("<circle cx=\"\(n(x))\" cy=\"\(n(y))\" r=\"\(n(radius))\" class=\"\(style)\"/>")
    }

    /// Draws a label with its baseline at `y`.
    mutating func text(_ x: Double, _ y: Double, _ anchor: Anchor = .start, _ style: String = "label", _ text: String) {
        guard !text.isEmpty else { return }
        let place = "x=\"\(n(x))\" y=\"\(n(y))\" text-anchor=\"\(anchor.rawValue)\""
        add("<text \(place) class=\"\(style)\">\(text.escaped)</text>")
    }

    private mutating func add(_ element: String) { elements.append(element) }

    /// Formats a coordinate, to a hundredth.
    private func n(_ value: Double) -> String {
        let hundredths = Int((value * 100).rounded())
        return hundredths % 100 == 0 ? "\(hundredths / 100)" : "\(Double(hundredths) / 100)"
    }

    /// The picture as an element of a page. `description` is the alternative text, with the same content as the
    /// picture.
    func svg(description: String) -> String {
        let label = description.escaped
        return """
            <svg role="img" aria-label="\(label)" viewBox="0 0 \(n(width)) \(n(height))" \
            xmlns="http://www.w3.org/2000/svg"><title>\(label)</title>
            \(elements.joined(separator: "\n"))
            </svg>
            """
    }
}

extension String {
    /// The string as text or an attribute's value in HTML and SVG. No character in it can end the surrounding element.
    var escaped: String {
        var text = ""
        for scalar in unicodeScalars {
            switch scalar {
            case "&": text += "&amp;"
            case "<": text += "&lt;"
            case ">": text += "&gt;"
            case "\"": text += "&quot;"
            case "'": text += "&#39;"
            case "\n", "\t": text.unicodeScalars.append(scalar)
            // A document may not contain control characters.
            case "\u{0}"..<"\u{20}", "\u{7F}"..<"\u{A0}": text += "\u{FFFD}"
            default: text.unicodeScalars.append(scalar)
            }
        }
        return text
    }
}

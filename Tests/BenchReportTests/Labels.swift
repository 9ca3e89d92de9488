// SPDX-License-Identifier: Apache-2.0
@testable import LiveUpdateBenchReport

/// A label of a picture, and the room that it takes.
struct Label: CustomStringConvertible {
    let text: String
    let left: Double
    let right: Double
    let top: Double
    let bottom: Double
    /// Whether the label is inside a bar, which covers the lines of the axis.
    var isInside = false

    var description: String { "\"\(text)\" at \(left)–\(right), \(top)–\(bottom)" }

    func overlaps(_ other: Label) -> Bool {
        left < other.right && other.left < right && top < other.bottom && other.top < bottom
    }

    /// Finds all labels of a picture in its markup.
    static func all(in svg: Substring) -> [Label] {
        svg.matches(of: /<text x="([^"]*)" y="([^"]*)" text-anchor="([a-z]*)" class="([^"]*)">([^<]*)<\/text>/).map {
            match in
            let (x, y) = (Double(match.1) ?? .nan, Double(match.2) ?? .nan)
            let text = unescaped(match.5)
            let width = TextMetrics.width(text)
            let left = match.3 == "start" ? x : match.3 == "end" ? x - width : x - width / 2
            return Label(
                text: text, left: left, right: left + width, top: y - TextMetrics.ascent,
                bottom: y + TextMetrics.descent, isInside: match.4.contains("inside"))
        }
    }

    /// Lists the faults of a picture's labels: labels that cover each other or a line of an axis, and labels that are
    /// cut off.
    static func faults(in svg: Substring) -> [String] {
        let labels = all(in: svg)
        guard let box = svg.firstMatch(of: /viewBox="0 0 ([0-9.]*) ([0-9.]*)"/),
            let width = Double(box.1), let height = Double(box.2)
        else { return ["no view box"] }
        let outside = labels.filter {
            !($0.left >= -0.01 && $0.right <= width + 0.01 && $0.top >= -0.01 && $0.bottom <= height)
        }
        let pairs = labels.indices.flatMap { one in
            labels[(one + 1)...].filter { labels[one].overlaps($0) }.map { "\(labels[one]) covers \($0)" }
        }
        return outside.map { "\($0) is cut off" } + pairs + covered(labels, in: svg)
    }

    /// Lines of axes go from left to right or from top to bottom.
    private static func covered(_ labels: [Label], in svg: Substring) -> [String] {
        let lines = svg.matches(
            of: /<line x1="([^"]*)" y1="([^"]*)" x2="([^"]*)" y2="([^"]*)" class="(?:grid|axis)"\/>/
        ).map { match in [match.1, match.2, match.3, match.4].map { Double($0) ?? .nan } }
        return labels.filter { label in
            !label.isInside
                && lines.contains {
                    $0[0] < label.right && label.left < $0[2] + 0.01 && $0[1] < label.bottom
                        && label.top < $0[3] + 0.01
                }
        }.map { "\($0) is over a line" }
    }

    private static func unescaped(_ text: Substring) -> String {
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")]
            .reduce(String(text)) { $0.replacing($1.0, with: $1.1) }
    }
}

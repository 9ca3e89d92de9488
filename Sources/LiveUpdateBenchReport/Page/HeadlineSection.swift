// SPDX-License-Identifier: Apache-2.0

/// The top of the page: the three figures that a reader looks for first.
enum HeadlineSection {
    static func markup(_ headline: Headline) -> String {
        let cards = [[headline.blackout], [headline.growth], headline.speedups].map { lines in
            HTML.element("div", html: lines.map(markup).joined(separator: "\n"))
        }
        return HTML.element("div", "class=\"headline\"", html: cards.joined(separator: "\n"))
    }

    private static func markup(_ line: Headline.Line) -> String {
        let figure = HTML.element(
            "p", line.figure == nil ? "class=\"figure absent\"" : "class=\"figure\"", text: line.figure ?? "–")
        return figure + HTML.element("p", "class=\"meaning\"", text: line.meaning)
            + HTML.element("p", "class=\"comparison\"", text: line.comparison)
    }
}

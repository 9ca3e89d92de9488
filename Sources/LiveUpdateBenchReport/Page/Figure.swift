// SPDX-License-Identifier: Apache-2.0

/// A picture with its title, the table of its figures below it, and notes.
struct Figure {
    let title: String
    let chart: (any Chart)?
    /// An explanation of the picture.
    var key = ""
    let table: HTMLTable
    /// The table of counts, which are not times.
    var counts: HTMLTable?
    var notes: [String] = []

    var html: String {
        let parts = [
            HTML.element("figcaption", text: title), HTML.element("div", html: picture),
            HTML.element("div", html: figures),
        ]
        return HTML.element("figure", html: parts.joined(separator: "\n"))
    }

    private var picture: String {
        guard let chart else { return "" }
        guard let svg = chart.svg else {
            return HTML.element("p", "class=\"key\"", text: "No picture: no figure has a place on its scale.")
        }
        return svg + (key.isEmpty ? "" : HTML.element("p", "class=\"key\"", text: key))
    }

    private var figures: String {
        let tables = [table, counts].compactMap { $0?.html }
        return (tables + notes.map { HTML.element("p", "class=\"note\"", text: $0) }).joined(separator: "\n")
    }
}

/// A section of the page, folded until its reader opens it: pictures that belong together.
struct Section {
    let id: String
    let title: String
    var introduction = ""
    /// Groups of pictures. A group may have a heading of its own.
    var groups: [(heading: String, figures: [Figure])] = []
    /// Markup other than pictures.
    var html = ""

    var isEmpty: Bool { html.isEmpty && groups.allSatisfy { $0.figures.isEmpty } }

    /// The section, folded. A link to its content opens it, also without a script.
    var markup: String {
        var parts: [String] = []
        if !introduction.isEmpty { parts.append(HTML.element("p", text: introduction)) }
        if !html.isEmpty { parts.append(html) }
        for group in groups where !group.figures.isEmpty {
            if !group.heading.isEmpty { parts.append(HTML.element("h3", text: group.heading)) }
            let figures = group.figures.map(\.html).joined(separator: "\n")
            parts.append(HTML.element("div", "class=\"figures\"", html: figures))
        }
        let content = HTML.element(
            "div", "id=\"\(id.escaped)\" class=\"content\"", html: parts.joined(separator: "\n"))
        return HTML.element("details", html: HTML.element("summary", html: HTML.element("h2", text: title)) + content)
    }
}

/// A picture with its title, the table of its figures below it, and what has to be said of them.
struct Figure {
    let title: String
    let chart: (any Chart)?
    /// How to read it.
    var key = ""
    let table: HTMLTable
    /// What was counted and not timed.
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

/// Pictures that belong together.
struct Section {
    let id: String
    let title: String
    var introduction = ""
    /// Those under one heading of their own, or under none.
    var groups: [(heading: String, figures: [Figure])] = []
    /// What is no picture.
    var html = ""

    var isEmpty: Bool { html.isEmpty && groups.allSatisfy { $0.figures.isEmpty } }

    var markup: String {
        var parts = [HTML.element("h2", "id=\"\(id.escaped)\"", text: title)]
        if !introduction.isEmpty { parts.append(HTML.element("p", text: introduction)) }
        if !html.isEmpty { parts.append(html) }
        for group in groups where !group.figures.isEmpty {
            if !group.heading.isEmpty { parts.append(HTML.element("h3", text: group.heading)) }
            let figures = group.figures.map(\.html).joined(separator: "\n")
            parts.append(HTML.element("div", "class=\"figures\"", html: figures))
        }
        return HTML.element("section", html: parts.joined(separator: "\n"))
    }
}

/// A picture with its title, the table of its figures below it, and what has to be said of them.
struct Figure {
    let title: String
    let chart: (any Chart)?
    /// How to read it.
    var key = ""
    let table: HTMLTable
    var notes: [String] = []

    var html: String {
        var parts = [HTML.element("figcaption", text: title)]
        if let svg = chart?.svg {
            parts.append(svg)
            if !key.isEmpty { parts.append(HTML.element("p", "class=\"key\"", text: key)) }
        } else if chart != nil {
            parts.append(HTML.element("p", "class=\"key\"", text: "No picture: no figure has a place on its scale."))
        }
        parts.append(table.html)
        parts += notes.map { HTML.element("p", "class=\"note\"", text: $0) }
        return HTML.element("figure", html: parts.joined(separator: "\n"))
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

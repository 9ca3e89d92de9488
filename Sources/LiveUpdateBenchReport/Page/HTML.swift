// SPDX-License-Identifier: Apache-2.0

/// Makes pieces of a page. These functions escape content that is passed as `text`; content passed as `html` is markup.
enum HTML {
    static func element(_ name: String, _ attributes: String = "", text: String) -> String {
        element(name, attributes, html: text.escaped)
    }

    static func element(_ name: String, _ attributes: String = "", html: String) -> String {
        "<\(name)\(attributes.isEmpty ? "" : " ")\(attributes)>\(html)</\(name)>"
    }

    static func list(_ items: [String]) -> String {
        element("ul", html: items.map { element("li", text: $0) }.joined(separator: "\n"))
    }

    /// Small text below a figure of a table.
    static func small(_ text: String) -> String { element("small", text: text) }
}

/// A table with the figures of a picture. If it is wider than the screen, only the table scrolls, not the page.
struct HTMLTable {
    let caption: String
    /// The headers of the columns. The first column has words, the others have figures.
    let header: [String]
    /// The markup of the cells, row by row.
    private(set) var rows: [[String]] = []
    /// Whether all columns have words.
    var isWords = false

    init(_ caption: String, _ header: [String], isWords: Bool = false) {
        self.caption = caption
        self.header = header
        self.isWords = isWords
    }

    mutating func add(html row: [String]) { rows.append(row) }

    /// The table as markup, without columns that are empty in every row.
    var html: String {
        let columns = header.indices.filter { column in column == 0 || rows.contains { !$0[column].isEmpty } }
        let head = columns.map { HTML.element("th", "scope=\"col\"", text: header[$0]) }.joined()
        let body = rows.map { row in HTML.element("tr", html: columns.map { cell(row, $0) }.joined()) }
        // The tabindex lets readers without a pointer scroll with the keyboard.
        return HTML.element(
            "div", "class=\"table\" tabindex=\"0\" role=\"region\" aria-label=\"\(caption.escaped)\"",
            html: HTML.element(
                "table", isWords ? "class=\"words\"" : "",
                html: "<thead><tr>\(head)</tr></thead>\n<tbody>\(body.joined(separator: "\n"))</tbody>"))
    }

    private func cell(_ row: [String], _ column: Int) -> String {
        column == 0
            ? HTML.element("th", "scope=\"row\"", html: row[column]) : HTML.element("td", html: row[column])
    }
}

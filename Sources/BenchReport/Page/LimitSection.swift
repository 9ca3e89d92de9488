/// What was to be reached, and was or was not.
enum LimitSection {
    static func of(_ measurements: [BenchMeasurement]) -> Section {
        var section = Section(id: "limits", title: "Against the floor")
        var table = HTMLTable("Ratios to the floor and their limits", ["", "ratio", "limit", ""])
        for one in measurements {
            guard let ratio = one.ratio, let limit = one.ratioLimit else { continue }
            let label = ["\(one.scenario): \(one.name)", Parameters.text(one.parameters)].filter { !$0.isEmpty }
            let isMet = ratio <= limit
            table.add(html: [
                label.joined(separator: ", ").escaped, Quantity.ratio(ratio), "≤ " + Quantity.ratio(limit),
                HTML.element("span", "class=\"\(isMet ? "met" : "missed")\"", text: isMet ? "✓ met" : "✗ missed"),
            ])
        }
        guard !table.rows.isEmpty else { return section }
        section.introduction =
            "The floor is the least that could do the same: a C program with the same system calls, run in alternation. "
            + "Ratios are of medians."
        section.html = table.html
        return section
    }
}

// SPDX-License-Identifier: Apache-2.0

/// The section of the promised limits, and whether the run reached them.
enum TargetSection {
    static func of(_ targets: [BenchTarget]) -> Section {
        var section = Section(id: "targets", title: "Promised and reached")
        guard !targets.isEmpty else { return section }
        var table = HTMLTable(section.title, ["", "reached", "promised", ""])
        for one in targets {
            let limit = (one.isUpperLimit ? "≤ " : "≥ ") + Quantity.ratio(one.limit)
            table.add(html: [
                "\(one.scenario): \(one.name)".escaped, value(one), limit,
                HTML.element(
                    "span", "class=\"\(one.isMet ? "met" : "missed")\"", text: one.isMet ? "✓ met" : "✗ missed"),
            ])
        }
        section.introduction =
            "The floor is the least that could do the same: a C program with the same system calls, run in alternation. "
            + "Ratios are of medians."
        section.html = table.html
        return section
    }

    /// The value of a target. It has more digits if two would hide that the target was missed.
    private static func value(_ target: BenchTarget) -> String {
        let text = Quantity.ratio(target.value)
        let hides = !target.isMet && text == Quantity.ratio(target.limit)
        return hides ? Decimal.fixed(target.value, decimals: 4) + "×" : text
    }
}

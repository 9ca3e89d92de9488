// SPDX-License-Identifier: Apache-2.0

/// The section of the promised limits, and whether the run reached them.
enum TargetSection {
    static func of(_ targets: [BenchTarget]) -> Section {
        let missed = targets.count { !$0.isMet }
        var section = Section(
            id: "targets", title: "Promised and reached" + (missed > 0 ? ": \(missed) of \(targets.count) missed" : ""))
        guard !targets.isEmpty else { return section }
        var table = HTMLTable("Promised and reached", ["the promise", "reached", ""])
        for one in targets {
            table.add(html: [
                one.name.capitalizedFirst.escaped, value(one),
                HTML.element(
                    "span", "class=\"\(one.isMet ? "met" : "missed")\"", text: one.isMet ? "✓ met" : "✗ missed"),
            ])
        }
        section.introduction =
            "The floor is the least that could do the same: a C program with the same system calls, run in alternation. "
            + "All values are ratios of medians; that of luod's memory is the ratio to 24 MiB."
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

/// The section with estimates for sizes that were not measured.
enum ProjectionSection {
    static func of(_ projections: [BenchProjection]) -> Section {
        let section = Section(id: "projections", title: "Projected, not measured")
        guard !projections.isEmpty else { return section }
        let pages = projections.map(\.page).reduce(into: [UInt64]()) { if !$0.contains($1) { $0.append($1) } }
        let figures = pages.map { page in figure(page, projections.filter { $0.page == page }) }
        return Section(
            id: section.id, title: section.title,
            introduction: "These were not measured: they follow the slope that was measured between smaller sizes.",
            groups: [("", figures)])
    }

    private static func figure(_ page: UInt64, _ projections: [BenchProjection]) -> Figure {
        let title = "Projection: " + Parameters.text("page", page)
        let sizes = projections.map(\.bytes).reduce(into: [UInt64]()) { if !$0.contains($1) { $0.append($1) } }
        let groups = sizes.map { size in
            let dots = projections.filter { $0.bytes == size }.map {
                DotChart.Dot(label: $0.name, tone: .projected, time: $0.time)
            }
            return DotChart.Group(heading: Parameters.text("bytes", size), dots: dots)
        }
        var table = HTMLTable(title, ["", "time, projected", "arena, projected", "measured from", "to"])
        for one in projections {
            table.add(html: [
                "\(one.name), \(Parameters.text("bytes", one.bytes))".escaped, Quantity.time.text(one.time),
                Quantity.bytes.text(one.arena), Quantity.bytes.text(Double(one.measuredFrom)),
                Quantity.bytes.text(Double(one.measuredTo)),
            ])
        }
        return Figure(title: title, chart: DotChart(title: title, groups: groups), table: table)
    }
}

/// The section about measurements that could not be made, with the reasons and remedies.
enum AbsenceSection {
    static func of(_ absences: [BenchAbsence]) -> Section {
        var section = Section(id: "absent", title: "Not measured")
        guard !absences.isEmpty else { return section }
        var table = HTMLTable("Not measured", ["what", "why", "what it would take"], isWords: true)
        for one in absences {
            table.add(html: ["\(one.scenario): \(one.name)", one.reason, one.remedy].map(\.escaped))
        }
        section.html = table.html
        return section
    }
}

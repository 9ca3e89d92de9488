// SPDX-License-Identifier: Apache-2.0

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
            let bars = projections.filter { $0.bytes == size }.map {
                BarChart.Bar(label: $0.name, tone: .projected, time: $0.time)
            }
            return BarChart.Group(heading: Parameters.text("bytes", size), bars: bars)
        }
        var table = HTMLTable(title, ["", "time, projected", "arena, projected", "measured from", "to"])
        for one in projections {
            table.add(html: [
                "\(one.name), \(Parameters.text("bytes", one.bytes))".escaped, Quantity.time.text(one.time),
                Quantity.bytes.text(one.arena), Quantity.bytes.text(Double(one.measuredFrom)),
                Quantity.bytes.text(Double(one.measuredTo)),
            ])
        }
        return Figure(title: title, chart: BarChart(title: title, groups: groups), table: table)
    }
}

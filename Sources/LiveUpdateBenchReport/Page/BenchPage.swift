// SPDX-License-Identifier: Apache-2.0

/// A document as one HTML page. The page loads nothing from elsewhere and runs no code.
package struct BenchPage: Sendable {
    private let document: BenchDocument

    /// Makes the page of a document with a known schema.
    package init(_ document: BenchDocument) { self.document = document }

    /// The whole page, as the content of a file.
    package var html: String {
        """
        <!DOCTYPE html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark">
        <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
        <title>\("What a live update costs: \(document.machine.processor)".escaped)</title>
        <style>
        \(PageStyle.css)
        </style>
        </head>
        <body>
        \(header)
        <main>
        \(sections.map(\.markup).joined(separator: "\n"))
        </main>
        \(footer)
        </body>
        </html>

        """
    }

    private var header: String {
        let parts = [
            HTML.element("h1", text: "What a live update costs"), HTML.element("p", "class=\"lead\"", text: lead),
            HeadlineSection.markup(Headline(document)), MachineSection.doubt(document.warnings), contents,
        ]
        return HTML.element("header", html: parts.joined(separator: "\n"))
    }

    private var lead: String {
        let machine =
            "\(document.machine.processors) × \(document.machine.processor), kernel \(document.machine.kernel)"
        return scenarios.isEmpty ? "Nothing was measured on \(machine)." : "On \(machine). Times are medians."
    }

    private var contents: String {
        let links = sections.map { section in
            HTML.element("a", "href=\"#\(section.id.escaped)\"", text: section.title)
        }
        return HTML.element(
            "nav", "aria-label=\"Contents\"",
            html: HTML.element("ul", html: links.map { HTML.element("li", html: $0) }.joined(separator: "\n")))
    }

    private var sections: [Section] {
        let measured = scenarios.map { scenario in
            section(scenario, document.measurements.filter { $0.scenario == scenario })
        }
        let all =
            [MachineSection.warnings(document.warnings), TargetSection.of(document.targets)] + measured + [
                ProjectionSection.of(document.projections), AbsenceSection.of(document.absent),
                MachineSection.facts(document),
            ]
        return all.filter { !$0.isEmpty }
    }

    /// The scenarios in the order in which they were measured.
    private var scenarios: [String] {
        document.measurements.map(\.scenario).reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
    }

    private func section(_ scenario: String, _ measurements: [BenchMeasurement]) -> Section {
        switch scenario {
        case "update": UpdateSection.of(measurements)
        case "compare": CompareSection.of(measurements)
        default: ScenarioSection.of(scenario, measurements)
        }
    }

    private var footer: String {
        let text = "Schema \(document.schema). Compare another run with --against."
        return HTML.element("footer", html: HTML.element("p", text: text))
    }
}

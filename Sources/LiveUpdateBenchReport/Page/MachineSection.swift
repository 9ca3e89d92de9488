// SPDX-License-Identifier: Apache-2.0

/// The sections about the machine and the run, and about the reasons to doubt the figures.
enum MachineSection {
    static func facts(_ document: BenchDocument) -> Section {
        let facts =
            facts(document.machine) + [
                ("began", document.started), ("took", Quantity.time.text(document.seconds * 1e9)),
            ]
        let items = facts.map { "<div>" + HTML.element("dt", text: $0.0) + HTML.element("dd", text: $0.1) + "</div>" }
        var section = Section(id: "machine", title: "The machine and the run")
        section.html = HTML.element("dl", html: items.joined(separator: "\n")) + command(document.command)
        return section
    }

    private static func facts(_ machine: BenchMachine) -> [(String, String)] {
        let pools = machine.pools.map { pool in
            "\(Decimal.grouped(Double(pool.total))) of \(Quantity.bytes.text(Double(pool.page))), "
                + "\(Decimal.grouped(Double(pool.free))) free"
        }
        return [
            ("kernel", machine.kernel),
            ("processor", "\(machine.processors) × \(machine.processor)"),
            ("memory", Quantity.bytes.text(Double(machine.memory))),
            ("NUMA nodes", "\(machine.nodes)"),
            ("virtual machine", machine.hypervisor.map { "yes: \($0)" } ?? "no"),
            ("frequency governor", machine.governor ?? "none"),
            ("load", machine.load.map { Decimal.fixed($0, decimals: 2) }.joined(separator: ", ")),
            ("huge pages", pools.isEmpty ? "none" : pools.joined(separator: "; ")),
        ]
    }

    private static let doubts = "doubts"

    static func warnings(_ warnings: [String]) -> Section {
        var section = Section(id: doubts, title: "Reasons to doubt these figures")
        if !warnings.isEmpty { section.html = HTML.list(warnings) }
        return section
    }

    /// A line that leads to the reasons for doubt; empty without reasons.
    static func doubt(_ warnings: [String]) -> String {
        guard !warnings.isEmpty else { return "" }
        let reasons = warnings.count == 1 ? "1 reason" : "\(warnings.count) reasons"
        let link = HTML.element("a", "href=\"#\(doubts)\"", text: "for \(reasons)")
        return HTML.element(
            "p", "class=\"warnings\" role=\"note\"", html: "<strong>These figures are doubtful</strong>, \(link).")
    }

    private static func command(_ command: [String]) -> String {
        HTML.element("pre", html: HTML.element("code", text: command.map { $0.quoted }.joined(separator: " ")))
    }
}

extension String {
    /// The string quoted for a shell.
    fileprivate var quoted: String {
        let isPlain =
            !isEmpty
            && unicodeScalars.allSatisfy { scalar in
                scalar.properties.isAlphabetic && scalar.isASCII
                    || "0123456789-_./=:,+@%".unicodeScalars.contains(scalar)
            }
        return isPlain
            ? self : "'" + split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
    }
}

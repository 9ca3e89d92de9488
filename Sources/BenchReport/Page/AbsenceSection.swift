/// What was not measured, and what it would take.
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

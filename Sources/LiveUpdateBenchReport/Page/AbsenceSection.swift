// SPDX-License-Identifier: Apache-2.0

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

// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import LiveUpdateDaemon

/// The text with the cost of an update has room for some lines, and gives the number of the lines that it leaves out.
@Suite struct UpdateCostTests {
    @Test("All lines are shown if there is room") func all() {
        #expect(UpdateCost.text([], room: 10) == "")
        #expect(UpdateCost.text(["one", "two"], room: 7) == "one\ntwo")
    }

    @Test(
        "If there is little room, as many lines as fit, and the number of the others",
        arguments: [Int](stride(from: 0, through: 4095, by: 13))) func some(room: Int)
    {
        let lines = (0..<200).map { "user 2002, session \"theirs\", token \($0): has 1 bytes" }
        let text = UpdateCost.text(lines, room: room)
        let shown = text.split(separator: "\n")
        guard let last = shown.last else { return }
        #expect(last.hasPrefix("and \(lines.count - shown.count + 1) more"))
        #expect(text.utf8.count <= max(room, last.utf8.count))
        #expect(shown.dropLast().elementsEqual(lines.prefix(shown.count - 1).map { Substring($0) }))
    }
}

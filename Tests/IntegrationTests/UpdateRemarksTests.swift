// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import luoctl

/// The lines of `luoctl update` about lost sessions and files.
@Suite struct UpdateRemarksTests {
    private static let session = SessionLine(subject: "user 1, session \"s\"", state: "unfinished")

    private static func file(_ token: Int, _ state: String = "memfd-v1, unfinished") -> SessionLine {
        SessionLine(subject: "user 1, session \"s\", token \(token)", state: state)
    }

    private func lines(
        _ said: [String], _ discarded: [SessionLine] = [], _ leftOut: [SessionLine] = []
    ) -> [String] {
        UpdateRemarks(said).completed {
            discarded
        } leftOut: {
            leftOut
        }
    }

    @Test("Text that fits in the answer is shown unchanged") func whole() {
        #expect(lines([]) == [])
        #expect(lines([Self.session.text], [Self.session, Self.file(1)]) == [Self.session.text])
    }

    @Test("The status provides the lines that did not fit") func completed() {
        let all = [Self.session] + (0..<20).map { Self.file($0) }
        let said = all.prefix(3).map(\.text) + ["and 18 more: luoctl status shows them"]
        #expect(lines(said, all) == all.map(\.text))
    }

    @Test("Discarded sessions are lost; the update goes on without the rest") func paragraphs() {
        let discarded = [Self.session, Self.file(1)].map(\.text)
        let leftOut = Self.file(2, "4096 bytes, and had 8192").text
        let more = "and 2 more: the log of luod names them"
        let (lost, without) = ("The update discarded, and lost:", "The update went on without:")
        #expect(UpdateRemarks.paragraphs([]) == [])
        #expect(UpdateRemarks.paragraphs(discarded) == [lost] + discarded)
        #expect(UpdateRemarks.paragraphs([leftOut]) == [without, leftOut])
        #expect(UpdateRemarks.paragraphs([leftOut] + discarded) == [lost] + discarded + [without, leftOut])
        #expect(UpdateRemarks.paragraphs(discarded + [more]) == [lost] + discarded + [more])
    }

    @Test("A file that luod and the status describe in different words is named once") func otherWords() {
        let named = Self.file(1, "the file has 4096 bytes and had 8192")
        let missing = Self.file(2)
        let said = [named.text, "and 1 more: luoctl status shows them"]
        #expect(lines(said, [], [Self.file(1, "left out: 4096"), missing]) == [named.text, missing.text])
    }

    @Test("Sessions that clients finished before the update are not named, but all losses are counted")
    func finishedBefore() {
        let all = [Self.session] + (0..<20).map { Self.file($0) }
        let said = [Self.session.text, Self.file(0).text, "and 2 more: luoctl status shows them"]
        #expect(lines(said, all) == said.dropLast() + ["and 2 more: the log of luod names them"])
        #expect(lines(said, []) == said.dropLast() + ["and 2 more: the log of luod names them"])
    }
}

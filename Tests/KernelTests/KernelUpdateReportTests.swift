// SPDX-License-Identifier: Apache-2.0
import Foundation
import LiveUpdatePlatform
import Testing

@testable import LiveUpdateKernel

/// The report of the last kernel update, without files and kernels.
@Suite struct KernelUpdateReportTests {
    typealias Moment = KernelUpdateRecord.Moment
    typealias Report = KernelUpdateReport

    private static func record(
        freeze: Int64? = 1000, published: Int64? = 1200, ended: Int64 = 1300
    ) -> KernelUpdateRecord {
        let times = KernelUpdateRecord.Times(
            freezeBegan: freeze.map { Moment(nanoseconds: $0) }, published: published.map { Moment(nanoseconds: $0) },
            kernelEnded: Moment(nanoseconds: ended))
        return KernelUpdateRecord(release: "6.1", bootId: "a", times: times, files: [], accepted: [])
    }

    private static func running(
        boot: String = "b", began: Int64 = 2000, service: String? = "b\na\n", answered: Int64? = 5000
    ) -> Report.Running {
        Report.Running(
            release: "7.3", bootId: boot, began: began,
            service: service.map { Report.Service($0, modified: answered) })
    }

    @Test(
        "The outcome follows from three boot IDs: of the record, of the kernel, of luod's last service",
        arguments: [
            ("a", "a\n", .notReplaced), ("a", "a\nz\n", .notReplaced), ("a", nil, .notReplaced),
            ("b", "b\na\n", .replaced), ("b", "a\n", .unanswered), ("b", "a\nz\n", .unanswered),
            ("b", nil, .unanswered),
            ("c", "c\nb\n", .restarted), ("c", "b\na\n", .restarted), ("b", "b\n", .restarted), ("b", "", .restarted),
        ] as [(String, String?, KernelUpdateReport.Outcome)])
    func outcomes(boot: String, service: String?, expected: Report.Outcome) {
        let report = Report(Self.record(), under: Self.running(boot: boot, service: service))
        #expect(report.outcome == expected)
        let isNext = expected == .replaced || expected == .unanswered
        #expect((report.release == "7.3") == isNext && (report.kernelBegan != nil) == isNext)
        #expect((report.answered != nil) == (expected == .replaced))
        #expect(report.parts.freeze == 200)
    }

    @Test("The parts follow each other, and make the whole") func parts() {
        let report = Report(Self.record(), under: Self.running())
        #expect(report.parts == Report.Parts(freeze: 200, end: 800, boot: 3000, whole: 4000))
        #expect(!report.frozeInStop)
    }

    @Test("Where systemd stops luod, the end of the kernel begins with the order") func inStop() {
        let report = Report(Self.record(freeze: nil, published: nil), under: Self.running())
        #expect(report.parts == Report.Parts(freeze: nil, end: 700, boot: 3000, whole: 3700))
        #expect(report.frozeInStop)
    }

    @Test("Without an answer of luod, only the old kernel's parts are known") func unanswered() {
        let report = Report(Self.record(), under: Self.running(service: "a\n"))
        #expect(report.parts == Report.Parts(freeze: 200, end: 800))
    }

    @Test(
        "A clock that jumps makes a duration unknown",
        arguments: [
            (1000, 900, 2000, 5000, Report.Parts(freeze: nil, end: 1100, boot: 3000, whole: 4000)),
            (1000, 1200, 1100, 5000, Report.Parts(freeze: 200, end: nil, boot: 3900, whole: 4000)),
            (1000, 1200, 2000, 1900, Report.Parts(freeze: 200, end: 800, boot: nil, whole: 900)),
            (1000, 1200, 2000, 10, Report.Parts(freeze: 200, end: 800, boot: nil, whole: nil)),
            (.min, .max, .min, .max, Report.Parts(freeze: nil, end: nil, boot: nil, whole: nil)),
            (.max, .min, .max, .min, Report.Parts(freeze: nil, end: nil, boot: nil, whole: nil)),
            (0, 0, 0, 0, Report.Parts(freeze: 0, end: 0, boot: 0, whole: 0)),
        ] as [(Int64, Int64, Int64, Int64, Report.Parts)])
    func jumps(freeze: Int64, published: Int64, began: Int64, answered: Int64, expected: Report.Parts) {
        let record = Self.record(freeze: freeze, published: published)
        #expect(Report(record, under: Self.running(began: began, answered: answered)).parts == expected)
    }

    @Test(
        "Times are ISO 8601 with milliseconds",
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"), (1_772_366_400_250_999_999, "2026-03-01T12:00:00.250Z"),
            (951_782_399_999_000_000, "2000-02-28T23:59:59.999Z"), (-1, "1969-12-31T23:59:59.999Z"),
            (.max, "2262-04-11T23:47:16.854Z"), (.min, "1677-09-21T00:12:43.145Z"),
        ] as [(Int64, String)])
    func times(nanoseconds: Int64, text: String) { #expect(Moment(nanoseconds: nanoseconds).time == text) }

    @Test("A record that was written is read again") func coding() throws {
        let files = [
            CarriedFile(user: 1, session: "vm", token: "2", handler: "dax-file-v1", size: 3, carrier: .dax),
            CarriedFile(
                user: 1, session: "vm", token: "3", handler: "memfd-v1", size: nil,
                carrier: .none(reason: "it ends", remedy: "use DAX")),
            CarriedFile(
                user: 1, session: "vm", token: "4", handler: "memfd-v1", size: 5, carrier: .liveUpdate(filling: 6)),
        ]
        let problem = KexecProblem(.noCarrier, on: "token 3", "it ends", remedy: "use DAX")
        let record = KernelUpdateRecord(
            release: "6.1", bootId: "a", times: Self.record().times, files: files, accepted: [problem])
        #expect(record.files.map(\.carrier) == ["DAX", "none", "LUO"] && record.files.map(\.memory) == [0, 0, 6])
        #expect(record.accepted.map(\.kind) == ["no-carrier"])
        #expect(try JSONDecoder().decode(KernelUpdateRecord.self, from: JSONEncoder().encode(record)) == record)
    }
}

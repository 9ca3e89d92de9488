// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import LiveUpdateCommandLine
import LiveUpdatePlatform

/// The result of the demo: tables for people, JSON for machines.
struct DemoReport {
    private let notes: DemoNotes
    private let updates: UInt64
    private let failure: String?

    /// Makes a report. `failure` is the error that ended the run before its last update.
    init(_ notes: DemoNotes, updates: UInt64, failure: String? = nil) {
        self.notes = notes
        self.updates = updates
        self.failure = failure
    }

    /// Whether every file was unchanged after every update, and the FLB was called as often as expected.
    var held: Bool { !notes.findings.isEmpty && faults.isEmpty }

    private var faults: [String] {
        let files = notes.findings.flatMap { finding in
            finding.faults.map { "file \(finding.token), update \(finding.update): \($0)" }
        }
        let calls = flbRows.filter { $0.calls != $0.expected }.map {
            "the HugeTLB FLB's \($0.callback) was called \($0.calls) times, and not \($0.expected)"
        }
        let recovered = notes.recovered.flatMap { run in run.faults.map { "run \(run.run): \($0)" } }
        let ended = failure.map { [$0] } ?? calls
        return recovered + files + notes.poolFaults.map { "the pool was changed: \($0)" } + ended
    }

    private struct FLBRow: Codable {
        var callback: String
        var calls: Int
        var expected: Int
    }

    private var flbRows: [FLBRow] {
        let once = notes.files.contains { $0.order > 0 } ? Int(updates) : 0
        return ["preserve", "retrieve", "finish", "unpreserve"].map { callback in
            FLBRow(
                callback: callback, calls: notes.flbCalls[callback] ?? 0, expected: callback == "unpreserve" ? 0 : once)
        }
    }

    private func findings(_ token: UInt64) -> [Finding] { notes.findings.filter { $0.token == token } }

    // MARK: For people

    var text: String {
        var parts = notes.recovered.map(\.text)
        if failure == nil {
            parts += [
                filesTable, "HugeTLB FLB (hugetlb-v1), over \(counted(updates, "update")):\n" + flbTable, phasesTable,
            ]
        }
        parts += notes.leftOut.map { Style.notice("left out: \($0)") }
        parts += notes.poolChanges.map { Style.notice("note: another process changed the pool: \($0)") }
        if let sabotage = notes.sabotage { parts.append(Style.notice("sabotage: \(sabotage)")) }
        let faults = faults
        parts += faults.map { Style.bad("FAULT: \($0)") }
        parts.append(
            faults.isEmpty
                ? Style.good(
                    "\(counted(notes.files.count, "file")) held over \(counted(updates, "update")), in the same memory")
                : Style.bad("not everything held: \(counted(faults.count, "fault"))"))
        return parts.joined(separator: "\n\n")
    }

    private var filesTable: String {
        var table = Table([
            "session", "token", "kind", "size", "holes", "seals", "content", "inode", "frames", "CRC32C",
        ])
        for file in notes.files {
            let found = findings(file.token)
            let faults = found.flatMap(\.faults)
            func verdict(_ what: String) -> String { faults.contains { $0.hasPrefix(what) } ? "CHANGED" : "same" }
            table.add([
                file.session, "\(file.token)", Self.kind(file),
                verdict("size") == "same" ? ByteCount.text(file.size) : "CHANGED",
                verdict("holes") == "same" ? (file.holes ? "yes, same" : "none") : "CHANGED",
                verdict("seals") == "same" ? Seals(rawValue: file.seals).text : "CHANGED",
                verdict("content"), verdict("inode"), Self.frames(found),
                file.crc.checksum,
            ])
        }
        return table.text
    }

    private static func kind(_ file: DemoNotes.File) -> String {
        if file.order == 0 { return "memfd" }
        return "\(file.path == nil ? "hugetlb" : "hugetlbfs") \(PageSize(order: file.order))"
    }

    private static func frames(_ findings: [Finding]) -> String {
        let pages = findings.last?.pages ?? 0
        guard findings.allSatisfy({ $0.moved != nil }) else { return "unknown (needs CAP_SYS_ADMIN)" }
        let moved = findings.last?.moved ?? 0
        return moved == 0 ? "all \(pages) same" : "\(moved) of \(pages) moved"
    }

    private var flbTable: String {
        var table = Table(["callback", "calls", "expected"])
        for row in flbRows { table.add([row.callback, "\(row.calls)", "\(row.expected)"]) }
        return table.text
    }

    private var phasesTable: String {
        var table = Table(["update", "phase", "ms", "GB/s"])
        for phase in notes.phases {
            let speed = phase.bytes == 0 ? "" : fixed(Double(phase.bytes) / Double(max(phase.nanoseconds, 1)), 1)
            table.add([
                phase.update == 0 ? "-" : "\(phase.update)", phase.name,
                fixed(Double(phase.nanoseconds) / 1e6, 3), speed,
            ])
        }
        return table.text
    }

    // MARK: For machines

    var json: String {
        struct Output: Encodable {
            var version = 1
            var held: Bool
            var updates: UInt64
            var reservedPages: UInt64
            var files: [DemoNotes.File]
            var findings: [Finding]
            var flb: [FLBRow]
            var phases: [DemoNotes.Phase]
            var leftOut: [String]
            var poolFaults: [String]
            var poolChanges: [String]
            var sabotage: String?
            var recovered: [Recovered]
            var faults: [String]
        }
        let output = Output(
            held: held, updates: updates, reservedPages: notes.reserved, files: notes.files,
            findings: notes.findings, flb: flbRows, phases: notes.phases, leftOut: notes.leftOut,
            poolFaults: notes.poolFaults, poolChanges: notes.poolChanges, sabotage: notes.sabotage,
            recovered: notes.recovered, faults: faults)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        encoder.keyEncodingStrategy = .convertToSnakeCase
        return (try? encoder.encode(output)).map { String(decoding: $0, as: UTF8.self) } ?? "{}"
    }
}

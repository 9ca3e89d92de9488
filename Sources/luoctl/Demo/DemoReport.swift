import Foundation
import Platform

/// What the demo found: for people as tables, for machines as JSON.
struct DemoReport {
    private let notes: DemoNotes
    private let updates: UInt64

    init(_ notes: DemoNotes, updates: UInt64) {
        self.notes = notes
        self.updates = updates
    }

    /// Whether every file held over every update, and the FLB was called as often as it should.
    var held: Bool {
        !notes.findings.isEmpty && notes.findings.allSatisfy(\.faults.isEmpty)
            && flbRows.allSatisfy { $0.calls == $0.expected }
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
        var parts = [filesTable, "HugeTLB FLB (hugetlb-v1), over \(updates) updates:\n" + flbTable, phasesTable]
        parts += notes.leftOut.map { "left out: \($0)" }
        parts += notes.findings.flatMap { finding in
            finding.faults.map { "FAULT: file \(finding.token), update \(finding.update): \($0)" }
        }
        let count = notes.files.count
        parts.append(
            held
                ? "\(count) files held over \(updates) updates, in the same memory"
                : "something did not hold: see above")
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
                file.session, "\(file.token)", file.order == 0 ? "memfd" : "hugetlb \(PageSize(order: file.order))",
                verdict("size") == "same" ? ByteCount.text(file.size) : "CHANGED",
                verdict("holes") == "same" ? (file.holes ? "yes, same" : "none") : "CHANGED",
                verdict("seals") == "same" ? Self.sealNames(file.seals) : "CHANGED",
                verdict("content"), verdict("inode"), Self.frames(found),
                String(file.crc, radix: 16),
            ])
        }
        return table.text
    }

    private static func frames(_ findings: [Finding]) -> String {
        let pages = findings.last?.pages ?? 0
        guard findings.allSatisfy({ $0.moved != nil }) else { return "unknown (needs CAP_SYS_ADMIN)" }
        let moved = findings.last?.moved ?? 0
        return moved == 0 ? "all \(pages) same" : "\(moved) of \(pages) moved"
    }

    private static func sealNames(_ seals: UInt32) -> String {
        let names: [(Seals, String)] = [
            (.seal, "seal"), (.shrink, "shrink"), (.grow, "grow"), (.write, "write"), (.futureWrite, "future"),
        ]
        let present = names.filter { Seals(rawValue: seals).contains($0.0) }.map(\.1)
        return present.isEmpty ? "none" : present.joined(separator: "+")
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
        }
        let output = Output(
            held: held, updates: updates, reservedPages: notes.reserved, files: notes.files,
            findings: notes.findings, flb: flbRows, phases: notes.phases, leftOut: notes.leftOut)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        encoder.keyEncodingStrategy = .convertToSnakeCase
        return (try? encoder.encode(output)).map { String(decoding: $0, as: UTF8.self) } ?? "{}"
    }
}

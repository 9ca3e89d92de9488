// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCommandLine
import LiveUpdateCore
import LiveUpdatePlatform

/// The content of an arena, for people. Names from the arena may be damaged, so they are escaped before they reach a
/// terminal.
struct InspectText {
    private let document: InspectDocument

    /// The number of failures in the text. The first failures are the interesting ones, and the JSON has all.
    private static let mostFailures = 20

    init(_ document: InspectDocument) { self.document = document }

    var text: String {
        var parts = [headline, invariants]
        if let superblock = document.superblock { parts.append(words(superblock)) }
        if !document.tables.isEmpty { parts.append(tables) }
        if let journal = document.journal {
            parts.append(line(journal))
            if let log = journal.log { parts.append(table(log)) }
        }
        if let state = document.state { parts.append(BootText(state, "by the journal").text) }
        for tree in document.trees { parts += self.parts(tree) }
        return parts.joined(separator: "\n\n")
    }

    // MARK: The arena

    private var headline: String {
        let runs =
            switch document.file.locked {
            case true: "a program runs it"
            case false: "no program runs it"
            case nil: "it cannot be known whether a program runs it"
            }
        let settled =
            document.file.settled ? "" : "\nit changed while it was read: what files have stored is not judged"
        let isNamed = document.superblock.map { $0.magic.failure == nil } ?? false
        let verdict = document.sound ? "sound" : isNamed ? "DAMAGED" : "DAMAGED, or no arena"
        var lines = document.failures.prefix(Self.mostFailures).map { "  " + $0.shown }
        let more = document.failures.count - lines.count
        if more > 0 { lines.append("  and \(more) more") }
        return (["\(document.arena.shown): \(verdict); \(runs)\(settled)"] + lines).joined(separator: "\n")
    }

    private var invariants: String {
        let found = document.invariants
        let names = Set(found.broken.map(\.invariant))
        let result = names.isEmpty ? "all hold" : "\(names.count) broken"
        var lines = ["invariants: \(found.checked.count) checked, \(result)"]
        lines += found.broken.prefix(Self.mostFailures).map { "  " + $0.shown }
        let more = found.broken.count - Self.mostFailures
        if more > 0 { lines.append("  and \(more) more places") }
        return lines.joined(separator: "\n")
    }

    private func words(_ words: InspectDocument.Superblock) -> String {
        var table = Table(["superblock", "value", "check"])
        func add(_ name: String, _ value: String, _ failure: InspectDocument.Failure?) {
            table.add([name, value, failure.check])
        }
        add("magic", Self.magic(words.magic.value), words.magic.failure)
        add("version", "\(words.version.value)", words.version.failure)
        add("page size", "\(words.pageSize.value)", words.pageSize.failure)
        add("size", "\(words.size.value)", words.size.failure)
        add("size of the file", "\(document.file.size)", nil)
        add("generation", "\(words.generation)", nil)
        return table.text
    }

    private static func magic(_ value: UInt64) -> String {
        let bytes = (0..<8).map { UInt8(truncatingIfNeeded: value.littleEndian >> (8 * $0)) }
        guard bytes.allSatisfy({ (0x20..<0x7F).contains($0) }) else { return "0x" + String(value, radix: 16) }
        return String(decoding: bytes, as: UTF8.self)
    }

    private var tables: String {
        var table = Table(["table at", "generation", "is", "part", "offset", "size", "since", "CRC32C", "check"])
        for entry in document.tables {
            let kind = entry.current ? "true" : entry.used ? "used" : entry.whole ? "not true" : "not whole"
            var head = ["\(entry.offset)", "\(entry.generation)", kind]
            for slot in entry.slots {
                table.add(head + Self.cells(slot, isUsed: entry.used))
                head = ["", "", ""]
            }
        }
        return table.text
    }

    private static func cells(_ slot: InspectDocument.Slot, isUsed: Bool) -> [String] {
        guard let offset = slot.offset, let size = slot.size else {
            return [slot.part, "-", "-", "-", "-", slot.failure?.shown ?? "empty"]
        }
        let place = ["\(offset)", "\(size)", "\(slot.generation)", slot.checksum.checksum]
        return [slot.part] + place + [isUsed ? slot.failure.check : "not looked at"]
    }

    private func line(_ journal: InspectDocument.Journal) -> String {
        "journal: \(journal.records) records, \(journal.tail) of \(journal.size) bytes, the first is number "
            + "\(journal.firstSequence): \(journal.failure.check)"
    }

    private func table(_ log: [InspectDocument.Record]) -> String {
        var table = Table(["record", "offset", "event"])
        for record in log {
            table.add(["\(record.sequence)", "\(record.offset)", record.event?.shown ?? record.failure.check])
        }
        return table.text
    }

    // MARK: Trees

    private func parts(_ tree: InspectDocument.Tree) -> [String] {
        var line = "\(tree.part) at offset \(tree.offset), \(tree.size) bytes: \(tree.failure.check)"
        if let start = tree.freezeStart, let end = tree.freezeEnd {
            line += "; files were frozen in \(fixed(Double(end &- start) / 1e6, 3)) ms"
        }
        let sources = tree.flattened.map { flattened in
            let text = flattened.dts ?? flattened.failure.check + "\n"
            return "// \(flattened.name.shown) at offset \(flattened.offset)\n\(text)"
        }
        return [line + "\n\n" + sources.joined(separator: "\n").dropLast()]
            + (tree.state.map { [BootText($0, "by the \(tree.part)").text] } ?? [])
    }
}

extension InspectDocument.Failure {
    var shown: String { "\(gate): \(reason.shown)" }
}

extension InspectDocument.Broken {
    var shown: String { "\(invariant): \(place.shown): \(reason.shown): \(consequence)" }
}

extension InspectDocument.Failure? {
    /// The text of a table's cell.
    var check: String { self?.shown ?? "right" }
}

extension UInt32 {
    /// The number as a checksum: eight hexadecimal digits.
    var checksum: String {
        let digits = String(self, radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }
}

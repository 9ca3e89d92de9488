// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCommandLine
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// The result of a check, for people.
struct CheckReport {
    let target: CheckTarget
    let found: ProcessCheck.Found
    let listsAll: Bool

    var subjects: [CheckSubject] { found.subjects }
    /// Nil when the target is not a process.
    var mapped: MappedMemory? { found.mapped }

    /// Whether the target is accepted. A process is accepted if one file is accepted, no memory file is refused, and
    /// the process has written no page of a memory file in a private mapping.
    var isAccepted: Bool {
        guard let mapped else { return subjects.allSatisfy(\.isAccepted) }
        return (subjects.contains(where: \.isAccepted) || mapped.shared.contains(where: \.isAccepted))
            && memory.allSatisfy(\.isAccepted) && mapped.shared.allSatisfy(\.isAccepted) && mapped.overFiles.isEmpty
    }

    /// Whether a missing right is the reason for every refusal.
    var needsRight: Bool {
        guard mapped?.overFiles.isEmpty ?? true else { return false }
        let files = (isProcess ? memory.filter { !$0.isAccepted } : subjects).map(\.errno)
        let refused = files + (mapped?.shared ?? []).filter { !$0.isAccepted }.map(\.errno)
        return !refused.isEmpty && refused.allSatisfy { $0 == .permissionDenied || $0 == .notPermitted }
    }

    var isProcess: Bool {
        if case .process = target { true } else { false }
    }

    /// The files that are listed even without `--all`: memory files and accepted files.
    var memory: [CheckSubject] { subjects.filter { $0.kind.isMemory || $0.isAccepted } }

    var text: String { isProcess ? processText : subjects.map(Self.single).joined(separator: "\n") }

    // MARK: One file

    private static func single(_ subject: CheckSubject) -> String {
        switch subject.verdict {
        case .accepted(let preserved):
            var rows = [("handler", preserved.handler)]
            rows.append(("FLBs", preserved.flbs.isEmpty ? "none" : preserved.flbs.joined(separator: ", ")))
            rows += subject.contentRows
            if let fate = subject.fate { rows.append(("kernel", fate.text)) }
            rows.append(("preserve", "\(fixed(Double(preserved.median) / 1e6, 3)) ms, \(preserved.runs)"))
            rows.append(("arena", "\(preserved.storedBytes) B, and \(preserved.journalBytes) B in the journal"))
            let width = (rows.map(\.0.count).max() ?? 0) + 2
            let lines = rows.map { name, value in
                "  " + name + String(repeating: " ", count: width - name.count) + value
            }
            return ([Style.good("\(subject.label): would be preserved")] + lines).joined(separator: "\n")
        case .refused: return subject.refusal
        }
    }

    // MARK: A process

    private var processText: String {
        var parts = [headline]
        if !memory.isEmpty { parts.append(memoryTable) }
        let refused = memory.filter { !$0.isAccepted && $0.sameAs == nil }
        parts += refused.map(\.refusal)
        if let mapped { parts += mapped.parts(process: target) }
        if let unseen = UnseenFile.text(found.unseen, listsAll: listsAll) { parts.append(unseen) }
        let others = subjects.filter { !$0.kind.isMemory && !$0.isAccepted }
        if listsAll { parts += others.map(\.refusal) } else if !others.isEmpty { parts.append(Self.summary(others)) }
        return parts.joined(separator: "\n\n")
    }

    private var headline: String {
        let accepted = memory.count { $0.isAccepted && !lacksPages($0) }
        let count = memory.count
        if count == 0 {
            let mapped = mapped?.shared.isEmpty == false ? ", but mappings are" : ""
            return "none of \(subjects.count) descriptors is of a memory file\(mapped)"
        }
        return accepted == count
            ? Style.good("all \(count) descriptors of memory files would be preserved")
            : Style.bad("\(count - accepted) of \(count) descriptors of memory files would NOT be preserved")
    }

    /// Whether the process has written pages of the file in a private mapping. Their data is not in the file.
    private func lacksPages(_ subject: CheckSubject) -> Bool {
        mapped?.overFiles.contains { $0.group.first.file == subject.status.identity } ?? false
    }

    private var memoryTable: String {
        var table = Table(["fd", "handler", "FLBs", "size", "data", "pages", "seals", "ms", "arena B", "file"])
        for subject in memory {
            let preserved = subject.preserved
            table.add([
                subject.fd.map { "\($0)" } ?? "-", preserved?.handler ?? "NONE",
                preserved.map { $0.flbs.isEmpty ? "-" : $0.flbs.joined(separator: ",") } ?? "-",
                ByteCount.text(subject.status.size), subject.content.map { ByteCount.text($0.data) } ?? "?",
                subject.content?.pageSize.description ?? "?", subject.content?.seals?.text ?? "-",
                preserved.map { fixed(Double($0.median) / 1e6, 3) } ?? "-",
                preserved.map { "\($0.storedBytes)" } ?? "-",
                subject.name.shown + (subject.sameAs.map { ", the same as fd \($0)" } ?? "")
                    + (lacksPages(subject) ? ", without private pages" : ""),
            ])
        }
        let note =
            "ms: the median of some runs, measured now; arena: each file alone, with its FLBs, once for all files"
        return table.text + "\n" + note
    }

    private static func summary(_ subjects: [CheckSubject]) -> String {
        let counts = Dictionary(grouping: subjects, by: \.kind.text).mapValues(\.count)
        let list = counts.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }
        return "other descriptors: \(list.joined(separator: ", ")); --all lists them, with the reasons"
    }
}

extension Verdict.Preserved {
    fileprivate var runs: String {
        nanoseconds.count == 1 ? "measured now" : "the median of \(nanoseconds.count) runs, measured now"
    }
}

extension MappedFile {
    /// The error of a refused file.
    fileprivate var errno: Errno? {
        switch subject {
        case .failure(let error): error.errno
        case .success(let subject): subject.errno
        }
    }
}

extension CheckSubject {
    var preserved: Verdict.Preserved? {
        if case .accepted(let preserved) = verdict { preserved } else { nil }
    }

    var isAccepted: Bool { preserved != nil }

    /// The error of a refused file.
    fileprivate var errno: Errno? {
        if case .refused(let refused) = verdict { refused.error.errno } else { nil }
    }

    fileprivate var label: String { fd.map { "fd \($0) (\(name.shown))" } ?? name.shown }

    fileprivate var contentRows: [(String, String)] {
        var rows = [("size", ByteCount.text(status.size))]
        guard let content else { return rows }
        let pieces = content.pageSize == .base ? "in \(content.pieces) runs" : "\(content.pieces) huge pages"
        rows.append(("pages", content.pageSize.description))
        rows.append(("data", "\(ByteCount.text(content.data)), \(pieces)"))
        rows.append(("holes", ByteCount.text(content.holes(status))))
        if let seals = content.seals { rows.append(("seals", seals.text)) }
        return rows
    }

    /// The advice for a refused file.
    var remedy: String? {
        guard case .refused(let refused) = verdict else { return nil }
        return kind.remedy ?? refused.error.remedy
    }

    fileprivate var refusal: String {
        guard case .refused(let refused) = verdict else { return "" }
        let title = "\(label): would not be preserved"
        var lines = [kind.isMemory ? Style.bad(title) : title]
        lines += refused.reasons.map { "  \($0.handler): \($0.reason)" }
        if refused.error.errno != .noSuchFileOrDirectory || refused.reasons.isEmpty {
            lines.append("  \(refused.error.reason) (\(refused.error.errno))")
        }
        if let remedy { lines.append("  remedy: \(remedy)") }
        return lines.joined(separator: "\n")
    }
}

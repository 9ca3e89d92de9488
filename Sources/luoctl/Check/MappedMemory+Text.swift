// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCommandLine
import LiveUpdatePlatform

/// The mappings of a process, for people.
extension MappedMemory {
    /// The advice for a private mapping of a memory file.
    static let remedyOverFile = "map the file with MAP_SHARED (QEMU: share=on), so that what is written is in the file"

    /// The paragraphs of the report.
    func parts(process: CheckTarget) -> [String] {
        var parts: [String] = []
        if !shared.isEmpty { parts.append(sharedTable(process)) }
        parts += shared.compactMap(\.refusal)
        if !overFiles.isEmpty {
            let lines = overFiles.map { file in
                "  \(ByteCount.text(file.group.ownBytes)) at \(file.address) over \(file.name.shown)"
            }
            let title = Style.bad(
                "private pages over memory files: their data is not in the file, and would NOT be preserved")
            parts.append(([title] + lines + ["  remedy: \(Self.remedyOverFile)"]).joined(separator: "\n"))
        }
        if anonymous > 0 {
            parts.append("\(ByteCount.text(anonymous)) of private memory without a file, which cannot be preserved")
        }
        return parts
    }

    private func sharedTable(_ target: CheckTarget) -> String {
        var table = Table(["address", "handler", "size", "data", "pages", "file"])
        for file in shared {
            let subject = try? file.subject.get()
            table.add([
                file.address, subject?.preserved?.handler ?? "NONE",
                subject.map { ByteCount.text($0.status.size) } ?? "?",
                subject?.content.map { ByteCount.text($0.data) } ?? "?", file.group.first.pageSize.description,
                file.name.shown,
            ])
        }
        var lines = ["memory files that only mappings hold", table.text]
        if case .process(let id) = target, let first = shared.first(where: \.isAccepted) {
            lines.append("luoctl preserve --pid \(id) --mapping \(first.address) preserves the first one")
        }
        return lines.joined(separator: "\n")
    }
}

extension MappedFile {
    fileprivate var refusal: String? {
        guard let problem else { return nil }
        let lines = [Style.bad("\(address) (\(name.shown)): would not be preserved"), "  \(problem.reason)"]
        return (lines + (problem.remedy.map { ["  remedy: \($0)"] } ?? [])).joined(separator: "\n")
    }
}

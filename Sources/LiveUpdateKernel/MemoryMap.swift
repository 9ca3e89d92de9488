// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform

/// The physical memory of a machine, as /proc/iomem lists it: ranges of addresses with names. A range can contain
/// ranges, such as the kernel's code in "System RAM".
package struct MemoryMap: Equatable, Sendable {
    /// A range with a name.
    package struct Entry: Equatable, Sendable {
        /// The addresses.
        package let range: Range<UInt64>
        /// The name, such as "System RAM" or "Persistent Memory (legacy)".
        package let name: String
        /// The ranges inside of this one.
        package var children: [Entry] = []
    }

    /// The ranges that no other range contains, by address.
    package let entries: [Entry]

    /// Parses the text of /proc/iomem. A line that describes no range is left out.
    package init(_ text: some StringProtocol) {
        let lines = text.split(separator: "\n").compactMap { Line($0) }
        var rest = lines[...]
        var entries: [Entry] = []
        while let line = rest.first { entries += Self.entries(&rest, depth: line.depth) }
        self.entries = entries
    }

    /// Takes the lines of a depth, with everything inside of their ranges.
    private static func entries(_ rest: inout ArraySlice<Line>, depth: Int) -> [Entry] {
        var entries: [Entry] = []
        while let line = rest.first, line.depth >= depth {
            if line.depth > depth, !entries.isEmpty {
                entries[entries.count - 1].children += Self.entries(&rest, depth: line.depth)
            } else {
                entries.append(Entry(range: line.range, name: line.name))
                rest.removeFirst()
            }
        }
        return entries
    }

    /// Whether the kernel has hidden all addresses, as it does for processes without CAP_SYS_ADMIN.
    package var isHidden: Bool { entries.allSatisfy { $0.range.lowerBound == 0 && $0.range.size <= 1 } }

    /// The memory that the kernel uses as its own.
    package var systemRAM: [Entry] { entries.filter { $0.name == "System RAM" } }

    /// The bytes of ``systemRAM``.
    package var systemRAMSize: UInt64 { systemRAM.reduce(0) { $0 &+ $1.range.size } }
}

/// A line of /proc/iomem: `  01000000-01e00d20 : Kernel code`
private struct Line {
    let depth: Int
    let range: Range<UInt64>
    let name: String

    init?(_ text: some StringProtocol) {
        let content = text.drop { $0 == " " }
        guard let colon = content.firstIndex(of: ":"), let hyphen = content[..<colon].firstIndex(of: "-"),
            let first = UInt64(content[..<hyphen], radix: 16),
            let last = UInt64(content[content.index(after: hyphen)..<colon].trimmed, radix: 16), last >= first
        else { return nil }
        depth = text.distance(from: text.startIndex, to: content.startIndex)
        range = first..<(last == .max ? last : last + 1)
        name = String(content[content.index(after: colon)...].trimmed)
    }
}

extension Range<UInt64> {
    /// The first and the last address, as /proc/iomem shows them.
    package var hexadecimal: String {
        let last = isEmpty ? upperBound : upperBound - 1
        return "0x\(String(lowerBound, radix: 16))-0x\(String(last, radix: 16))"
    }

    /// The parts of this range that are outside of the other one.
    func subtracting(_ other: Self) -> [Self] {
        guard overlaps(other) else { return [self] }
        var parts: [Self] = []
        if lowerBound < other.lowerBound { parts.append(lowerBound..<other.lowerBound) }
        if other.upperBound < upperBound { parts.append(other.upperBound..<upperBound) }
        return parts
    }
}

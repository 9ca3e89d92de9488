// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import LiveUpdatePlatform

/// The group of each kind of mapping.
@Suite struct MappingSortingTests {
    /// Areas of 4 KiB, one behind the other, from lines such as `rw-s 1 /memfd:x (deleted)`, with their own bytes.
    private func sorted(_ lines: [(String, UInt64)], open: Set<UInt64> = [], program: UInt64? = nil) -> MappingSorting {
        let text = lines.enumerated().map { index, line in
            let words = line.0.split(separator: " ", maxSplits: 2)
            let name = words.count > 2 ? String(words[2]) : ""
            return "\(index + 1)000-\(index + 2)000 \(words[0]) 0 00:01 \(words[1]) \(name)"
        }
        let areas = MappedArea.areas(inMaps: text.joined(separator: "\n"))
        func identity(_ inode: UInt64) -> FileIdentity {
            FileIdentity(device: deviceNumber(major: 0, minor: 1), inode: inode)
        }
        return MappingSorting(
            zip(areas, lines).map { MappingSorting.Area(area: $0, ownBytes: $1.1) }, open: Set(open.map(identity)),
            program: program.map(identity))
    }

    @Test(
        "One area",
        arguments: [
            // Shared, with and without a descriptor.
            ("rw-s 7 /memfd:x (deleted)", 0, Set<UInt64>(), nil, (1, 0, 0)),
            ("rw-s 7 /memfd:x (deleted)", 0, [7], nil, (0, 0, 0)),
            ("r--s 7 /dev/zero (deleted)", 0, [8], nil, (1, 0, 0)),
            ("rw-s 7 /anon_hugepage (deleted)", 0, [], nil, (1, 0, 0)),
            // Private, over a file: only written pages are lost, with a descriptor or without.
            ("rw-p 7 /memfd:x (deleted)", 0, [7], nil, (0, 0, 0)),
            ("rw-p 7 /memfd:x (deleted)", 4096, [7], nil, (0, 1, 0)),
            ("rw-p 7 /memfd:x (deleted)", 4096, [], nil, (0, 1, 0)),
            ("rw-p 7 /memfd:program (deleted)", 4096, [], 7, (0, 0, 0)),
            // In no file.
            ("rw-p 0 [heap]", 4096, [], nil, (0, 0, 4096)),
            ("rw-p 0", 8192, [], nil, (0, 0, 8192)),
            ("rw-p 7 /anon_hugepage (deleted)", 4096, [], nil, (0, 0, 4096)),
            ("r-xp 0 [vdso]", 0, [], nil, (0, 0, 0)),
        ] as [(String, UInt64, Set<UInt64>, UInt64?, (Int, Int, UInt64))])
    func oneArea(_ line: String, _ own: UInt64, _ open: Set<UInt64>, _ program: UInt64?, _ wanted: (Int, Int, UInt64)) {
        let found = sorted([(line, own)], open: open, program: program)
        #expect((found.shared.count, found.overFiles.count, found.anonymous) == wanted)
    }

    @Test("Areas of a file belong together, also with another file between them") func groups() {
        let found = sorted([
            ("rw-s 7 /memfd:x (deleted)", 0), ("rw-s 8 /memfd:x (deleted)", 0), ("r--s 7 /memfd:x (deleted)", 0),
            ("rw-p 9 /memfd:y (deleted)", 4096), ("rw-p 9 /memfd:y (deleted)", 4096), ("rw-p 0", 4096),
            ("rw-p 0", 4096),
        ])
        #expect(found.shared.map(\.areas.count) == [2, 1])
        #expect(found.shared.map(\.bytes) == [8192, 4096])
        #expect(found.shared[0].first.range.lowerBound == 0x1000)
        #expect(found.overFiles.map(\.ownBytes) == [8192])
        #expect(found.anonymous == 8192)
    }
}

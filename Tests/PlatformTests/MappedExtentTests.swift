// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import LiveUpdatePlatform

/// The answers of FS_IOC_FIEMAP, and the pages in which an extent can be mapped.
@Suite struct MappedExtentTests {
    private static let last: UInt32 = 1
    private static let unwritten: UInt32 = 0x800

    /// An answer of the kernel: offset, place on the device, length, and flags of each extent.
    private static func answer(_ extents: [(UInt64, UInt64, UInt64, UInt32)], count: UInt32? = nil) -> [UInt8] {
        func bytes<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
            (0..<Value.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
        }
        var answer = [UInt8](repeating: 0, count: FileMapPage.headLength + FileMapPage.room * FileMapPage.extentLength)
        answer.replaceSubrange(20..<24, with: bytes(count ?? UInt32(extents.count)))
        for (index, extent) in extents.enumerated() {
            let at = FileMapPage.headLength + index * FileMapPage.extentLength
            let numbers = bytes(extent.0) + bytes(extent.1) + bytes(extent.2)
            answer.replaceSubrange(at..<at + 24, with: numbers)
            answer.replaceSubrange(at + 40..<at + 44, with: bytes(extent.3))
        }
        return answer
    }

    private static func extent(_ offset: UInt64, _ length: UInt64, at physical: UInt64) -> MappedExtent {
        MappedExtent(place: Extent(offset: offset, length: length), physical: physical)
    }

    struct Case: Sendable, CustomStringConvertible {
        let description: String
        let answer: [UInt8]
        var start: UInt64 = 0
        var end: UInt64 = 1 << 20
        var includesUnwritten = false
        let extents: [MappedExtent]
        let next: UInt64?
    }

    static let cases = [
        Case(description: "no extent", answer: answer([]), extents: [], next: nil),
        Case(
            description: "the last extent", answer: answer([(0, 4096, 8192, last)]),
            extents: [extent(0, 8192, at: 4096)], next: nil),
        Case(
            description: "more to come", answer: answer([(0, 4096, 8192, 0), (16384, 65536, 4096, 0)]),
            extents: [extent(0, 8192, at: 4096), extent(16384, 4096, at: 65536)], next: 20480),
        Case(
            description: "an unwritten extent is a hole", answer: answer([(0, 4096, 8192, unwritten | last)]),
            extents: [], next: nil),
        Case(
            description: "an unwritten extent is a part of the file",
            answer: answer([(0, 4096, 8192, unwritten | last)]), includesUnwritten: true,
            extents: [extent(0, 8192, at: 4096)], next: nil),
        Case(
            description: "an extent that begins before", answer: answer([(0, 65536, 16384, last)]), start: 4096,
            extents: [extent(4096, 12288, at: 69632)], next: nil),
        Case(
            description: "an extent behind the end of the file", answer: answer([(0, 65536, 16384, 0)]), end: 10000,
            extents: [extent(0, 10000, at: 65536)], next: nil),
        Case(
            description: "an extent that begins behind the end", answer: answer([(1 << 20, 0, 4096, 0)]), extents: [],
            next: nil),
        Case(description: "an empty extent", answer: answer([(0, 0, 0, 0)]), extents: [], next: nil),
        Case(
            description: "lengths that would overflow", answer: answer([(4096, 0, .max, 0)]),
            extents: [extent(4096, (1 << 20) - 4096, at: 0)], next: nil),
    ]

    @Test("An answer is read up to its last extent, within the file", arguments: cases) func page(_ one: Case) {
        let page = FileMapPage(answer: one.answer, from: one.start, to: one.end, one.includesUnwritten)
        #expect(page.extents == one.extents && page.next == one.next)
    }

    @Test("An answer with more extents than there was room for is cut") func count() {
        let all = (0..<UInt64(FileMapPage.room)).map { ($0 * 4096, $0 * 4096, UInt64(4096), UInt32(0)) }
        let page = FileMapPage(answer: Self.answer(all, count: .max), from: 0, to: .max, false)
        #expect(page.extents.count == FileMapPage.room && page.next == UInt64(FileMapPage.room) * 4096)
    }

    @Test(
        "An extent can be mapped in huge pages where file and memory are aligned alike",
        arguments: [
            (0, 4 << 20, 0, 4 << 20), (0, 4 << 20, 8 << 20, 4 << 20), (0, 4 << 20, 4096, 0),
            (4096, 4 << 20, 4096, 2 << 20),
            (4096, 4096, 4096, 0), (2 << 20, 2 << 20, 0, 2 << 20), (1 << 20, 2 << 20, 1 << 20, 0), (0, 0, 0, 0),
            (0, (2 << 20) - 1, 0, 0),
        ] as [(UInt64, UInt64, UInt64, UInt64)])
    func mappable(offset: UInt64, length: UInt64, physical: UInt64, bytes: UInt64) {
        #expect(Self.extent(offset, length, at: physical).mappable(by: .huge2M) == bytes)
    }
}

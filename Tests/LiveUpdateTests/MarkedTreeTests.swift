// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import TestSupport
import Testing

@testable import LiveUpdateCore

/// `luo-slot-v2` is written only if a file has marks, and its content is checked.
@Suite struct MarkedTreeTests {
    private let arena: Arena

    init() throws {
        arena = try Arena.make()
        try arena.takeOver([], inUse: [])
    }

    private func tree(_ files: [(holdsFile: Bool, leftOut: LeftOut?)]) -> LuoTree {
        LuoTree(
            updateNumber: 1, freeze: FreezeTime(start: 1, end: 2), journalRoom: Extent(offset: 0, length: 0),
            sessions: [
                LuoTree.Session(
                    name: "s",
                    files: files.enumerated().map { index, file in
                        LuoTree.File(
                            record: FileRecord(compatible: "test-v1", data: 0, token: UInt64(index)),
                            slot: DescriptorSlot(Int64(index)),
                            identity: FileIdentity(device: 1, inode: UInt64(index)), ranges: [], links: [],
                            holdsFile: file.holdsFile, leftOut: file.leftOut)
                    })
            ], flbs: [], discarded: [])
    }

    private func written(_ tree: LuoTree, _ change: (inout [UInt8]) -> Void = { _ in }) throws -> LuoTreeReader {
        var tree = tree
        tree.journalRoom = try arena.allocate(4096)
        let writer = LuoTreeWriter(tree: tree, inUse: tree.rangesInUse + [tree.journalRoom])
        let range = try arena.allocate(writer.length)
        var bytes = try writer.bytes(at: range.offset)
        #expect(UInt64(bytes.count) == writer.length)
        change(&bytes)
        arena.write(bytes, at: range.offset)
        return LuoTreeReader(arena: arena, range: range)
    }

    private func contains(_ text: String, _ reader: LuoTreeReader) -> Bool {
        String(decoding: reader.image, as: UTF8.self).contains(text)
    }

    private static let leftOut = LeftOut(errno: 116, reason: "why")

    @Test("A tree without marks has the first format, which all images read") func plain() throws {
        let reader = try written(tree([(true, nil), (true, nil)]))
        #expect(contains("luo-slot-v1", reader) && !contains("luo-slot-v2", reader))
        #expect(try reader.read().sessions[0].files.allSatisfy { $0.holdsFile && $0.leftOut == nil })
    }

    @Test("Marks are read back") func marked() throws {
        let files: [(Bool, LeftOut?)] = [
            (true, nil), (false, nil), (true, Self.leftOut), (false, LeftOut(errno: 4095, reason: "other")),
        ]
        let tree = tree(files)
        let reader = try written(tree)
        #expect(contains("luo-slot-v2", reader) && !contains("luo-slot-v1", reader))
        #expect(try reader.read().sessions == tree.sessions)
        #expect(try reader.freezeOffset() > 0)
    }

    @Test("In the first format the bytes of the marks mean nothing") func marksInTheFirstFormat() throws {
        let reader = try written(tree([(true, nil)])) { bytes in
            bytes[Self.slot(in: bytes) + 104] = 3
        }
        #expect(try reader.read().sessions[0].files[0].holdsFile)
    }

    /// The offset of the first file's slot, which follows the header. The header begins with the number of files.
    private static func slot(in bytes: [UInt8]) -> Int {
        // Each session takes 8 + 80 bytes and 64 for each file, and each FLB 16. There is one file, and no holders.
        5 * 512 + 8 + 80 + 64 + 16 + 56
    }

    @Test(
        "Damage is refused",
        arguments: [
            (104, 7, "unknown marks"), (106, 0, "errno 0"), (107, 0xFF, "errno 65"), (112, 0, "without a reason"),
            (112, 0xFF, "not UTF-8"),
        ])
    func damaged(offset: Int, byte: UInt8, reason: String) throws {
        let reader = try written(tree([(true, Self.leftOut)])) { bytes in
            let slot = Self.slot(in: bytes)
            #expect(bytes[slot + 104] == 2 && bytes[slot + 106] == 116 && bytes[slot + 112] == UInt8(ascii: "w"))
            bytes[slot + offset] = byte
        }
        let error = arenaError { try reader.read() }
        #expect(error?.gate == .record)
        #expect(error?.reason.contains(reason) == true, "\(error as Any)")
    }

    private func arenaError(_ body: () throws -> LuoTree) -> ArenaError? {
        do {
            _ = try body()
            return nil
        } catch {
            return error as? ArenaError
        }
    }
}

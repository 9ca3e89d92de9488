// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateDeviceTree
import LiveUpdateHandover
import LiveUpdatePlatform
import TestSupport
import Testing

/// A published tree, read with only the offsets and names of docs/abi.md. The kernel of the next boot, or another
/// implementation, would read it in this way.
@Suite struct PublishedTreeTests {
    private let bytes: [UInt8]
    private let tree: Extent
    private let files: [MemoryFile]
    private let machine: Machine

    /// Makes two sessions, "first" with tokens 7 and .max, and "second" with token 1, and an empty one. One FLB belongs
    /// to all files.
    init() throws {
        machine = try Machine()
        let handler = TestHandler("test-v1") { hooks in
            hooks.preserve = { file throws(LiveUpdateError) in try file.storage.store([UInt8]("content".utf8)) }
        }
        let boot = try machine.boot(.nextBoot, handler, TestFLB("flb-v1"))
        files = try (0..<3).map { _ in try MemoryFile() }
        let first = try boot.createSession("first")
        try first.preserve(files[0].descriptor, token: 7)
        try first.preserve(files[1].descriptor, token: .max)
        try boot.createSession(SessionName(String(repeating: "e", count: 63))).preserve(files[2].descriptor, token: 1)
        _ = try boot.createSession("empty")
        try boot.publish()
        bytes = try machine.file.bytes()
        tree = try #require(try machine.openArena().outgoingTree)
    }

    private func word(_ offset: UInt64) -> UInt64 { integer(bytes, at: offset) }

    private func integer(_ bytes: [UInt8], at offset: UInt64) -> UInt64 {
        TestSupport.integer(UInt64.self, bytes, at: Int(offset))
    }

    private func text(_ offset: UInt64, _ length: Int) -> String {
        String(decoding: bytes[Int(offset)..<Int(offset) + length].prefix { $0 != 0 }, as: UTF8.self)
    }

    private func flattened(_ offset: UInt64) -> [UInt8] {
        let size = UInt32(bigEndian: TestSupport.integer(UInt32.self, bytes, at: Int(offset) + 4))
        return [UInt8](bytes[Int(offset)..<Int(offset) + Int(size)])
    }

    private func root() throws -> DeviceTreeReader { try DeviceTreeReader(flattened(tree.offset)) }

    private func subsystem(_ name: String) throws -> (offset: UInt64, tree: DeviceTreeReader) {
        let root = try root()
        let node = try #require(root.child(name))
        let offset = try #require(root.u64("fdt", of: node))
        return (offset, try DeviceTreeReader(flattened(offset)))
    }

    @Test func handover() throws {
        let root = try root()
        #expect(root.string("compatible") == "kho-v1")
        #expect(root.childNames() == ["LUO", "luo-session", "luo-flb", "luo-slot"])
        for name in root.childNames() {
            let offset = try subsystem(name).offset
            #expect(offset % 8 == 0 && offset >= tree.offset && offset < tree.end, "\(name) at \(offset)")
        }
    }

    @Test func luo() throws {
        let luo = try subsystem("LUO").tree
        #expect(luo.string("compatible") == "luo-v1")
        #expect(luo.property("liveupdate-number") == nativeBytes(1 as UInt64), "native order, one more than now")
    }

    @Test("luo-session: u64 count, then 80 bytes for each session, which points to 64 bytes for each file")
    func sessions() throws {
        let sessions = try subsystem("luo-session").tree
        #expect(sessions.string("compatible") == "luo-session-v1")
        let header = try #require(sessions.u64("luo-session-header"))
        #expect(word(header) == 3)
        let expected: [(String, [UInt64])] = [
            ("first", [7, .max]), (String(repeating: "e", count: 63), [1]), ("empty", []),
        ]
        for (index, (name, tokens)) in expected.enumerated() {
            let record = header + 8 + 80 * UInt64(index)
            #expect(text(record, 64) == name)
            #expect(word(record + 72) == UInt64(tokens.count))
            try checkFiles(at: word(record + 64), tokens)
        }
    }

    private func checkFiles(at offset: UInt64, _ tokens: [UInt64]) throws {
        for (index, token) in tokens.enumerated() {
            let record = offset + 64 * UInt64(index)
            #expect(text(record, 48) == "test-v1")
            #expect(word(record + 56) == token)
            let data = word(record + 48)
            #expect(text(data, 7) == "content", "the handle is an offset from the arena's start")
        }
    }

    @Test("luo-flb: u64 pages, u64 count, then 64 bytes for each FLB")
    func flbs() throws {
        let flbs = try subsystem("luo-flb").tree
        #expect(flbs.string("compatible") == "luo-flb-v1")
        let header = try #require(flbs.u64("luo-flb-header"))
        #expect(word(header) == 1)
        #expect(word(header + 8) == 1)
        #expect(text(header + 16, 48) == "flb-v1")
        #expect(word(header + 16 + 48) == 42)
        #expect(word(header + 16 + 56) == 3)
    }

    @Test("preserved-memory-map: the tree, the room for the next journal, the records of files, and nothing else")
    func memoryMap() throws {
        let map = try #require(try root().u64("preserved-memory-map"))
        let ranges = (0..<word(map)).map { Extent(offset: word(map + 8 + 16 * $0), length: word(map + 16 + 16 * $0)) }
        #expect(ranges.map(\.offset) == ranges.map(\.offset).sorted())
        #expect(ranges.count == 5)
        let header = try #require(try subsystem("luo-slot").tree.u64("luo-slot-header"))
        let room = word(header + 40)
        #expect(ranges.contains { $0.offset == room && $0.length == word(header + 48) })
        #expect(ranges.contains { $0.offset == tree.offset && $0.length <= tree.length })
        let held = ranges.filter { $0.offset != tree.offset && $0.offset != room }
        #expect(held.allSatisfy { text($0.offset, 7) == "content" })
    }

    @Test func ourSlotsNameTheKeptDescriptors() throws {
        let slots = try subsystem("luo-slot").tree
        #expect(slots.string("compatible") == "luo-slot-v1")
        let header = try #require(slots.u64("luo-slot-header"))
        #expect([word(header), word(header + 8), word(header + 16)] == [3, 1, 0])
        for (index, file) in files.enumerated() {
            let record = header + 56 + 112 * UInt64(index)
            let slot = DescriptorSlot(Int64(bitPattern: word(record)))
            #expect(machine.descriptors.held.contains(slot))
            #expect(FileIdentity(device: word(record + 8), inode: word(record + 16)) == file.identity)
            #expect([UInt8](bytes[Int(record) + 40..<Int(record) + 42]) == [1, 0], "counts on one FLB, the first")
        }
    }

    @Test("dtc(1) reads all five trees", .enabled(if: DeviceTreeCompiler.isWanted, "dtc is not installed"))
    func compiler() throws {
        let root = try DeviceTreeCompiler.source(of: flattened(tree.offset))
        #expect(root.contains("compatible = \"kho-v1\";"))
        let properties = [
            ("LUO", "luo-v1", "liveupdate-number"), ("luo-session", "luo-session-v1", "luo-session-header"),
            ("luo-flb", "luo-flb-v1", "luo-flb-header"), ("luo-slot", "luo-slot-v1", "luo-slot-header"),
        ]
        for (name, compatible, property) in properties {
            let (offset, tree) = try subsystem(name)
            let node = try #require(root.firstIndex(of: "\(name) {"))
            #expect(root[node + 1] == "fdt = \(DeviceTreeCompiler.cells(offset));")
            let value = try #require(tree.u64(property))
            #expect(
                try DeviceTreeCompiler.source(of: flattened(offset)) == [
                    "/dts-v1/;", "/ {", "compatible = \"\(compatible)\";",
                    "\(property) = \(DeviceTreeCompiler.cells(value));", "};",
                ])
        }
    }
}

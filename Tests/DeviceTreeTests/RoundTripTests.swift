// SPDX-License-Identifier: Apache-2.0
import LiveUpdateDeviceTree
import Testing

@Suite struct RoundTripTests {
    static let sample = DeviceTreeNode(
        "",
        [("compatible", .string("kho-v1")), ("empty", .string("")), ("number", .u64(0x0102_0304_0506_0708))],
        children: [
            DeviceTreeNode("LUO", [("fdt", .u64(4096))]),
            DeviceTreeNode("luo-flb", [("fdt", .u64(.max))], children: [DeviceTreeNode("leaf", [("zero", .u64(0))])]),
        ])

    private func reader() throws -> DeviceTreeReader { try DeviceTreeReader(Self.sample.flattened()) }

    @Test func propertiesComeBack() throws {
        let reader = try reader()
        #expect(reader.string("compatible") == "kho-v1")
        #expect(reader.string("empty") == "")
        #expect(reader.u64("number") == 0x0102_0304_0506_0708)
    }

    @Test func childrenComeBackInOrder() throws {
        let reader = try reader()
        #expect(reader.childNames() == ["LUO", "luo-flb"])
        let node = try #require(reader.child("luo-flb"))
        #expect(reader.u64("fdt", of: node) == .max)
        #expect(reader.childNames(of: node) == ["leaf"])
        let leaf = try #require(reader.child("leaf", of: node))
        #expect(reader.u64("zero", of: leaf) == 0)
        #expect(reader.childNames(of: leaf) == [])
    }

    @Test func whatIsNotThereIsNil() throws {
        let reader = try reader()
        #expect(reader.child("luo-session") == nil)
        #expect(reader.property("nothing") == nil)
        #expect(reader.u64("compatible") == nil, "seven bytes are no u64")
        #expect(reader.string("number") == nil, "eight bytes without a NUL at the end are no string")
    }

    @Test("Numbers are in native order, as in the kernel's own handover trees, not big-endian")
    func nativeOrder() throws {
        #expect(try reader().property("number") == [8, 7, 6, 5, 4, 3, 2, 1])
    }

    @Test("The reader aligns its copy: a tree may lie at any address")
    func anyAddress() throws {
        let tree = try Self.sample.flattened()
        for shift in 0..<8 {
            let moved = [UInt8](repeating: 0xAA, count: shift) + tree
            #expect(try DeviceTreeReader([UInt8](moved[shift...])).string("compatible") == "kho-v1")
        }
    }

    @Test func bytesBehindTheTreeAreLeftOut() throws {
        let tree = try Self.sample.flattened()
        let reader = try DeviceTreeReader(tree + [UInt8](repeating: 0xFF, count: 100))
        #expect(reader.childNames() == ["LUO", "luo-flb"])
        #expect(try DeviceTreeReader.totalSize(ofHeader: [UInt8](tree.prefix(40))) == tree.count)
    }

    @Test func aTreeThatIsTooLargeIsRefused() {
        #expect(throws: DeviceTreeError.self) { try Self.sample.flattened(capacity: 100) }
        #expect(throws: DeviceTreeError.self) { try Self.sample.flattened(capacity: 0) }
    }

    @Test func writingIsRepeatable() throws { #expect(try Self.sample.flattened() == Self.sample.flattened()) }

    @Test func manyChildrenComeBack() throws {
        let names = (0..<200).map { "node-\($0)" }
        let children = names.map { DeviceTreeNode($0, [("fdt", .u64(UInt64($0.utf8.count)))]) }
        let root = DeviceTreeNode("", [("compatible", .string("many"))], children: children)
        let reader = try DeviceTreeReader(root.flattened(capacity: 1 << 16))
        #expect(reader.childNames() == names)
        for name in names {
            let node = try #require(reader.child(name))
            #expect(reader.u64("fdt", of: node) == UInt64(name.utf8.count))
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import CLiveUpdateFDT
import FuzzSupport

@testable import LiveUpdateDeviceTree

// Reads a flattened tree. The reader accepts a tree if and only if libfdt's full check accepts it and it follows the
// specification. One exception: the reader refuses versions before 16 without a call to libfdt, because the check of
// libfdt 1.6 crashes on some of them. A second reader, which knows the specification and not libfdt, finds nodes and
// properties, and ours must find all of them. The first byte of an input tells whether the header's magic, version and
// size are repaired.

@_cdecl("LLVMFuzzerInitialize")
public func initialize(_: UnsafeMutableRawPointer?, _: UnsafeMutableRawPointer?) -> CInt {
    writeSeedsIfAsked { try seeds() }
    return 0
}

@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var bytes = unsafe input(start, count)
    guard let flags = bytes.first else { return -1 }
    bytes.removeFirst()
    if flags & 1 == 1 { repairHeader(&bytes) }
    let reader = try? DeviceTreeReader(bytes)
    let layout = Layout(bytes)
    let accepted = layout.isSpecified && libfdtAccepts(bytes)
    check((reader != nil) == accepted, "our reader says \(reader != nil), libfdt and the specification \(accepted)")
    let size = try? DeviceTreeReader.totalSize(ofHeader: bytes)
    guard let reader else { return 0 }
    check(size.map { $0 <= bytes.count } ?? false, "accepted, with a size of \(String(describing: size))")
    if let root = layout.root { compare(reader, .root, root) }
    return 0
}

/// The second reader's result for a tree.
private struct Layout {
    var isSpecified = true
    var root: Walk.Node?

    init(_ bytes: [UInt8]) {
        guard Walk.describes(bytes) else {
            isSpecified = false
            return
        }
        do { root = try Walk.root(of: bytes) } catch { isSpecified = false }
    }
}

private func repairHeader(_ bytes: inout [UInt8]) {
    guard bytes.count >= 40 else { return }
    for (index, word) in [(0, 0xD00D_FEED), (1, UInt32(bytes.count)), (5, 17), (6, 16)] as [(Int, UInt32)] {
        bytes[UInt32.self, at: 4 * index] = word.bigEndian
    }
}

/// Calls the check that ``DeviceTreeReader`` uses. The tree must follow the specification, because libfdt runs forever
/// on some other trees. The buffer ends with the tree, so that AddressSanitizer finds reads beyond its end.
private func libfdtAccepts(_ bytes: [UInt8]) -> Bool {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 8)
    defer { unsafe buffer.deallocate() }
    unsafe buffer.copyBytes(from: bytes)
    return unsafe fdt_check_full(buffer.baseAddress, bytes.count) == 0
}

private func compare(_ reader: DeviceTreeReader, _ node: DeviceTreeReader.Node, _ expected: Walk.Node) {
    let names = expected.children.map { String(decoding: $0.name, as: UTF8.self) }
    check(reader.childNames(of: node) == names, "children \(reader.childNames(of: node)), not \(names)")
    compareProperties(reader, node, expected)
    for child in expected.children {
        // The reader cannot be asked for a name that is not text.
        guard let name = String(validating: child.name, as: UTF8.self), !name.isEmpty else { continue }
        guard let first = expected.children.first(where: { isCalled($0.name, child.name) }) else { continue }
        guard let found = reader.child(name, of: node) else { fault("no child \(name)") }
        if first.name == child.name { compare(reader, found, first) }
    }
    let absent = [UInt8]("no such child".utf8)
    guard !expected.children.contains(where: { isCalled($0.name, absent) }) else { return }
    check(reader.child("no such child", of: node) == nil, "a child that is not there")
}

/// Whether libfdt takes `name` for `wanted`: a name without a unit address also matches one with it.
private func isCalled(_ name: [UInt8], _ wanted: [UInt8]) -> Bool {
    let at = UInt8(ascii: "@")
    return name == wanted || name.starts(with: wanted) && name[wanted.count] == at && !wanted.contains(at)
}

private func compareProperties(_ reader: DeviceTreeReader, _ node: DeviceTreeReader.Node, _ expected: Walk.Node) {
    for (name, _) in expected.properties {
        guard let text = String(validating: name, as: UTF8.self) else { continue }
        let value = expected.properties.first { $0.name == name }?.value
        let found = reader.property(text, of: node)
        check(found == value, "\(text) is \(String(describing: found)), not \(String(describing: value))")
        check(reader.u64(text, of: node) == value.flatMap(word), "\(text) as a word")
        let string = reader.string(text, of: node)
        check(string.map { [UInt8]($0.utf8) + [0] } ?? value == value, "\(text) as a string")
    }
    // The fuzzer can learn this name, so that an input may have a property of this name.
    let absent = "no such property"
    guard !expected.properties.contains(where: { $0.name == [UInt8](absent.utf8) }) else { return }
    check(reader.property(absent, of: node) == nil, "a property that is not there")
}

private func word(_ bytes: [UInt8]) -> UInt64? { bytes.count == 8 ? bytes[UInt64.self, at: 0] : nil }

/// The trees of a handover, and one with every kind of content.
private func seeds() throws -> [Seed] {
    let empty = DeviceTreeNode("", [])
    let leaf = DeviceTreeNode("leaf", [("compatible", .string("luo-v1")), ("liveupdate-number", .u64(3))])
    let handover = DeviceTreeNode(
        "", [("compatible", .string("kho-v1")), ("preserved-memory-map", .u64(1 << 40))],
        children: ["LUO", "luo-session", "luo-flb", "luo-slot"].map { DeviceTreeNode($0, [("fdt", .u64(4096))]) })
    let nested = DeviceTreeNode(
        "", [("model", .string(""))],
        children: [
            DeviceTreeNode("a@1", [("x", .u64(.max))], children: [leaf, leaf]),
            DeviceTreeNode("a", [], children: [leaf]),
        ])
    return try [("empty", empty), ("leaf", leaf), ("handover", handover), ("nested", nested)].flatMap { name, node in
        let root = DeviceTreeNode("", node.properties, children: node.children)
        let tree = try root.flattened(capacity: 1024)
        return [(name, [0] + tree), ("\(name)-repaired", [1] + tree)]
    }
}

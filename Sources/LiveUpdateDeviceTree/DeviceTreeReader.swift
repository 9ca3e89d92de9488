// SPDX-License-Identifier: Apache-2.0
import CLiveUpdateFDT

/// Reads an untrusted flattened tree. libfdt checks all of it before any lookup.
package struct DeviceTreeReader: Sendable {
    /// A copy of the tree, which is aligned and cannot change after the check.
    private let words: [UInt64]

    /// A node, identified by an offset that only libfdt understands.
    package struct Node: Sendable {
        fileprivate let offset: CInt
        /// The root.
        package static let root = Node(offset: 0)
    }

    /// The first version in which nodes have names instead of paths. No current program writes older ones, and the full
    /// check of libfdt 1.6 reads through a null pointer in some of them.
    private static let oldestVersion: UInt32 = 16

    /// Checks a tree and makes a copy of it. Bytes after its end are left out.
    ///
    /// - Throws: the error of libfdt's full check; "bad version" also for a version before 16, and "bad structure" also
    ///   for a property that is longer than the tree.
    package init(_ bytes: [UInt8]) throws(DeviceTreeError) {
        var words = [UInt64](repeating: 0, count: (bytes.count + 7) / 8)
        // SAFETY: both buffers are at least `bytes.count` long, and nothing keeps their addresses.
        let verdict = unsafe words.withUnsafeMutableBytes { copy in
            unsafe copy.copyBytes(from: bytes)
            guard bytes.count >= MemoryLayout<fdt_header>.size else { return -FDT_ERR_TRUNCATED }
            let version = unsafe UInt32(bigEndian: copy.load(as: fdt_header.self).version)
            guard version >= Self.oldestVersion else { return -FDT_ERR_BADVERSION }
            guard Self.lengthsFit(bytes) else { return -FDT_ERR_BADSTRUCTURE }
            return unsafe fdt_check_full(copy.baseAddress, bytes.count)
        }
        if verdict != 0 { throw DeviceTreeError("check", verdict) }
        self.words = words
    }

    /// Whether each property ends within the structure. libfdt 1.6 adds lengths without a check for overflow. It takes
    /// some properties of nearly 4 GiB for the few bytes around their start, and its check never returns for others.
    /// libfdt finds all other errors itself.
    private static func lengthsFit(_ bytes: [UInt8]) -> Bool {
        func word(_ offset: Int) -> Int? {
            guard offset >= 0, offset + 4 <= bytes.count else { return nil }
            return bytes[offset..<offset + 4].reduce(0) { $0 << 8 | Int($1) }
        }
        guard let total = word(4), let start = word(8), let version = word(20), let size = word(36) else { return true }
        // Before version 17 the header does not have the length of the structure.
        let end = min(version >= 17 ? start + size : total, bytes.count)
        var offset = start
        while let token = word(offset), offset < end {
            offset += 4
            switch CInt(truncatingIfNeeded: token) {
            case FDT_BEGIN_NODE:
                guard offset < end, let nul = bytes[offset..<end].firstIndex(of: 0) else { return true }
                offset += (nul - offset + 4) / 4 * 4
            case FDT_PROP:
                guard let length = word(offset) else { return true }
                guard length <= end - offset - 8 else { return false }
                offset += 8 + (length + 3) / 4 * 4
            case FDT_END_NODE, FDT_NOP: continue
            default: return true
            }
        }
        return true
    }

    /// The total size of a tree, according to the header in these bytes. The rest of the tree can be checked only when
    /// all of its bytes are there.
    ///
    /// - Throws: an error when there is no header that libfdt knows.
    package static func totalSize(ofHeader bytes: [UInt8]) throws(DeviceTreeError) -> Int {
        guard bytes.count >= MemoryLayout<fdt_header>.size else {
            throw DeviceTreeError("header", reason: "shorter than a header")
        }
        var words = [UInt64](repeating: 0, count: (bytes.count + 7) / 8)
        // SAFETY: as in init; fdt_check_header reads no more than the header.
        let (verdict, size) = unsafe words.withUnsafeMutableBytes { copy in
            unsafe copy.copyBytes(from: bytes)
            guard let tree = copy.baseAddress else { return (CInt(-1), 0) }
            return unsafe (fdt_check_header(tree), Int(UInt32(bitPattern: clibfdt_totalsize(tree))))
        }
        if verdict != 0 { throw DeviceTreeError("header", verdict) }
        return size
    }

    /// The child of that name, if there is one.
    package func child(_ name: String, of node: Node = .root) -> Node? {
        let offset = unsafe withTree { tree in unsafe fdt_subnode_offset(tree, node.offset, name) }
        return offset >= 0 ? Node(offset: offset) : nil
    }

    /// The names of a node's children, in order.
    package func childNames(of node: Node = .root) -> [String] {
        unsafe withTree { tree in
            var names: [String] = []
            var offset = unsafe fdt_first_subnode(tree, node.offset)
            while offset >= 0 {
                var length: CInt = 0
                if let name = unsafe fdt_get_name(tree, offset, &length) { unsafe names.append(String(cString: name)) }
                offset = unsafe fdt_next_subnode(tree, offset)
            }
            return names
        }
    }

    /// All nodes and their depths below the root. Each node comes before its children.
    package var nodes: [(node: Node, depth: Int)] {
        unsafe withTree { tree in
            var nodes: [(node: Node, depth: Int)] = []
            var depth: CInt = -1
            var offset = unsafe fdt_next_node(tree, -1, &depth)
            while offset >= 0 && depth >= 0 {
                nodes.append((Node(offset: offset), Int(depth)))
                offset = unsafe fdt_next_node(tree, offset, &depth)
            }
            return nodes
        }
    }

    /// A node's name. The name of the root is empty.
    package func name(of node: Node) -> String {
        unsafe withTree { tree in
            var length: CInt = 0
            return unsafe fdt_get_name(tree, node.offset, &length).map { unsafe String(cString: $0) } ?? ""
        }
    }

    /// A node's properties, in order.
    package func properties(of node: Node) -> [(name: String, value: [UInt8])] {
        unsafe withTree { tree in
            var properties: [(name: String, value: [UInt8])] = []
            var offset = unsafe fdt_first_property_offset(tree, node.offset)
            while offset >= 0 {
                var name: UnsafePointer<CChar>?
                var length: CInt = 0
                let value = unsafe fdt_getprop_by_offset(tree, offset, &name, &length)
                if let name = unsafe name, let value = unsafe value, length >= 0 {
                    let bytes = unsafe [UInt8](UnsafeRawBufferPointer(start: value, count: Int(length)))
                    unsafe properties.append((String(cString: name), bytes))
                }
                offset = unsafe fdt_next_property_offset(tree, offset)
            }
            return properties
        }
    }

    /// A property's bytes, if the node has that property.
    package func property(_ name: String, of node: Node = .root) -> [UInt8]? {
        unsafe withTree { tree in
            var length: CInt = 0
            guard let value = unsafe fdt_getprop(tree, node.offset, name, &length), length >= 0 else { return nil }
            return unsafe [UInt8](UnsafeRawBufferPointer(start: value, count: Int(length)))
        }
    }

    /// The value of a property of exactly eight bytes, in native order.
    package func u64(_ name: String, of node: Node = .root) -> UInt64? {
        property(name, of: node).flatMap(Self.number)
    }

    /// The value of exactly eight bytes, in native order.
    static func number(_ bytes: [UInt8]) -> UInt64? {
        guard bytes.count == 8 else { return nil }
        // SAFETY: the guard ensures that there are eight bytes.
        return unsafe bytes.withUnsafeBytes { unsafe $0.loadUnaligned(as: UInt64.self) }
    }

    /// The value of a property that is one string with its NUL.
    package func string(_ name: String, of node: Node = .root) -> String? {
        guard let bytes = property(name, of: node), bytes.last == 0, !bytes.dropLast().contains(0) else { return nil }
        return String(validating: bytes.dropLast(), as: UTF8.self)
    }

    // SAFETY: the tree was checked as a whole and cannot change, and the pointer does not leave `body`.
    @unsafe
    private func withTree<Value>(_ body: (UnsafeRawPointer) -> Value) -> Value {
        unsafe words.withUnsafeBytes { buffer in
            guard let tree = buffer.baseAddress else { preconditionFailure("a checked tree is never empty") }
            return unsafe body(tree)
        }
    }
}

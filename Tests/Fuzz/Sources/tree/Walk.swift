// SPDX-License-Identifier: Apache-2.0
import FuzzSupport

/// A flattened tree as the Devicetree Specification (chapter 5) lays it out, read without libfdt.
struct Walk {
    struct Node {
        var name: [UInt8]
        /// The properties before the first child, where libfdt looks for them. The first one of each name counts.
        var properties: [(name: [UInt8], value: [UInt8])] = []
        var children: [Node] = []
    }

    enum Refusal: Error { case refused }

    private let bytes: [UInt8]
    private let strings: Range<Int>
    private let end: Int
    private var at: Int

    /// Reads the node at the start of the structure block; nil when another token is there, as libfdt sees it.
    ///
    /// - Throws: when the tree is not laid out as the specification says.
    static func root(of tree: [UInt8]) throws(Refusal) -> Node? {
        var walk = try Walk(tree)
        return try walk.firstNode()
    }

    /// Whether the tree has the layout of version 16 or later. The specification describes only this layout.
    static func describes(_ tree: [UInt8]) -> Bool { tree.count >= 40 && big(tree, 20) >= 16 }

    private init(_ bytes: [UInt8]) throws(Refusal) {
        guard bytes.count >= 40 else { throw .refused }
        self.bytes = bytes
        let (total, version) = (Self.big(bytes, 4), Self.big(bytes, 20))
        let structure = Self.big(bytes, 8)
        // Before version 17 the header does not contain the length of the structure block, and libfdt ignores the
        // length of the strings.
        end = version >= 17 ? structure + Self.big(bytes, 36) : total
        let first = Self.big(bytes, 12)
        strings = first..<(version >= 17 ? first + Self.big(bytes, 32) : max(first, total))
        at = structure
        guard total <= bytes.count, end <= total, strings.upperBound <= total else { throw .refused }
    }

    private static func big(_ bytes: [UInt8], _ offset: Int) -> Int {
        bytes[offset..<offset + 4].reduce(0) { $0 << 8 | Int($1) }
    }

    // MARK: The structure block

    private mutating func word() throws(Refusal) -> Int {
        guard at + 4 <= end else { throw .refused }
        defer { at += 4 }
        return Self.big(bytes, at)
    }

    private mutating func take(_ count: Int) throws(Refusal) -> [UInt8] {
        guard count <= end - at else { throw .refused }
        defer { at += (count + 3) / 4 * 4 }
        return [UInt8](bytes[at..<at + count])
    }

    /// Reads a string up to its NUL.
    private func string(from start: Int, to end: Int) throws(Refusal) -> [UInt8] {
        guard start < end, let nul = bytes[start..<end].firstIndex(of: 0) else { throw .refused }
        return [UInt8](bytes[start..<nul])
    }

    /// Reads the whole block, and returns its first node. Nodes after the first one are checked, too, but no reader
    /// finds them.
    private mutating func firstNode() throws(Refusal) -> Node? {
        var open: [Node] = []
        var root: Node?
        var isFirst = true
        var rootIsFirst = false
        while true {
            let token = try word()
            switch token {
            case 1: open.append(Node(name: try name()))
            case 2:
                guard let node = open.popLast() else { throw .refused }
                if !open.isEmpty { open[open.count - 1].children.append(node) } else if root == nil { root = node }
            case 3:
                let property = try property()
                // The specification allows no property after a child. libfdt checks such a property and never finds it.
                if open.last?.children.isEmpty == true { open[open.count - 1].properties.append(property) }
            case 4: break
            case 9:
                guard open.isEmpty else { throw .refused }
                return rootIsFirst ? root : nil
            default: throw .refused
            }
            if isFirst { rootIsFirst = token == 1 }
            isFirst = false
        }
    }

    private mutating func name() throws(Refusal) -> [UInt8] {
        let name = try string(from: at, to: end)
        _ = try take(name.count + 1)
        return name
    }

    private mutating func property() throws(Refusal) -> (name: [UInt8], value: [UInt8]) {
        let (length, offset) = (try word(), try word())
        let value = try take(length)
        return (try string(from: strings.lowerBound + offset, to: strings.upperBound), value)
    }
}

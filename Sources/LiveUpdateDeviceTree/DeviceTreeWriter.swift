// SPDX-License-Identifier: Apache-2.0
import CLiveUpdateFDT

/// A node to write: properties first, then children, as the format requires.
package struct DeviceTreeNode: Sendable {
    /// A property's value.
    package enum Value: Sendable {
        /// A string, written with its NUL.
        case string(String)
        /// Eight bytes in native order, as in the kernel's own handover trees.
        case u64(UInt64)
    }

    /// The name of the node, which is empty for the root.
    package var name: String
    /// The properties, in the order in which they are written.
    package var properties: [(name: String, value: Value)]
    /// The children, in the order in which they are written.
    package var children: [DeviceTreeNode]

    /// Describes a node.
    package init(
        _ name: String = "", _ properties: [(name: String, value: Value)], children: [DeviceTreeNode] = []
    ) {
        self.name = name
        self.properties = properties
        self.children = children
    }

    /// The flattened tree under this root, version 17, written by libfdt.
    ///
    /// - Throws: the error of libfdt for a name that is too long, or a tree that is larger than `capacity`.
    package func flattened(capacity: Int = 4096) throws(DeviceTreeError) -> [UInt8] {
        // A tree must start 8-byte aligned, as an array of UInt64 does.
        var space = [UInt64](repeating: 0, count: (capacity + 7) / 8)
        // SAFETY: libfdt knows the size of the buffer, and nothing keeps its address.
        return try unsafe space.withUnsafeMutableBufferPointer { (words) throws(DeviceTreeError) in
            let buffer = UnsafeMutableRawBufferPointer(words)
            guard let tree = buffer.baseAddress else { return [] }
            try check("create", unsafe fdt_create(tree, CInt(buffer.count)))
            try check("reserve map", unsafe fdt_finish_reservemap(tree))
            try unsafe write(into: tree)
            try check("finish", unsafe fdt_finish(tree))
            return unsafe [UInt8](buffer[..<Int(clibfdt_totalsize(tree))])
        }
    }

    @unsafe
    private func write(into tree: UnsafeMutableRawPointer) throws(DeviceTreeError) {
        try check("node \(name)", unsafe fdt_begin_node(tree, name))
        for (name, value) in properties {
            switch value {
            case .string(let text): try check(name, unsafe writeString(tree, name, text))
            case .u64(var number):
                try check(name, unsafe fdt_property(tree, name, &number, CInt(MemoryLayout<UInt64>.size)))
            }
        }
        for child in children { try unsafe child.write(into: tree) }
        try check("end of \(name)", unsafe fdt_end_node(tree))
    }
}

private func check(_ action: String, _ code: CInt) throws(DeviceTreeError) {
    if code < 0 { throw DeviceTreeError(action, code) }
}

/// Writes a string property with its NUL. `fdt_property_string` is a macro, which Swift does not import.
@unsafe
private func writeString(_ tree: UnsafeMutableRawPointer, _ name: String, _ text: String) -> CInt {
    unsafe text.withCString { unsafe fdt_property(tree, name, $0, CInt(text.utf8.count + 1)) }
}

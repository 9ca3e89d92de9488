// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform
import SystemPackage

/// The device tree compiler, dtc(1), which reads our trees independently.
package enum DeviceTreeCompiler {
    private static let path = ["/usr/bin/dtc", "/usr/local/bin/dtc"].first { (path: String) in
        unsafe access(path, X_OK) == 0
    }

    /// Whether its tests run. They run if it is installed, and always in an automatic run, which fails without it.
    package static var isWanted: Bool { path != nil || isAutomaticRun }

    /// The source of a flattened tree, without comments and indentation.
    package static func source(of tree: [UInt8]) throws -> [String] {
        let text = String(decoding: try run(on: tree, ["-I", "dtb", "-O", "dts"]), as: UTF8.self)
        let lines: [Substring] = text.split(separator: "\n")
        return lines.map { line in String(line.drop { $0.isWhitespace }) }
    }

    /// The flattened tree of a source.
    package static func compiled(_ source: String) throws -> [UInt8] {
        try run(on: Array(source.utf8), ["-I", "dts", "-O", "dtb"])
    }

    private static func run(on input: [UInt8], _ options: [String]) throws -> [UInt8] {
        let file = try MemoryFile("input", bytes: input)
        // The tree does not go to standard output, because it is not text.
        let output = try MemoryFile("output", size: 0)
        let paths = ["-o", "/proc/self/fd/\(output.descriptor.rawValue)", "/proc/self/fd/\(file.descriptor.rawValue)"]
        let image = ProgramImage(path: FilePath(path ?? "/usr/bin/dtc"), arguments: ["dtc", "-q"] + options + paths)
        let process = try ChildProcess.start(image, inherited: [file.descriptor, output.descriptor])
        _ = process.readOutput(within: 10_000)
        let status = process.finish()
        guard status == 0 else { throw Refused(status: status) }
        return try output.bytes()
    }

    /// The error of a compiler that could not read a tree.
    package struct Refused: Error {
        /// The exit status of the compiler.
        package let status: Int32
    }

    /// A u64 property as the compiler prints it. The compiler takes the cells for big-endian numbers.
    package static func cells(_ value: UInt64) -> String {
        let bytes = nativeBytes(value)
        let cells = [bytes[..<4], bytes[4...]].map { cell in cell.reduce(UInt32(0)) { $0 << 8 | UInt32($1) } }
        return "<" + cells.map { "0x" + hexadecimal($0) }.joined(separator: " ") + ">"
    }

    private static func hexadecimal(_ value: UInt32) -> String {
        let digits = String(value, radix: 16)
        return digits.count == 1 ? "0\(digits)" : digits
    }
}

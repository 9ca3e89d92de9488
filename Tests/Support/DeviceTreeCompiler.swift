import Foundation

/// The device tree compiler, dtc(1): a reader of trees that is not ours.
public enum DeviceTreeCompiler {
    private static let path = ["/usr/bin/dtc", "/usr/local/bin/dtc"].first {
        FileManager.default.isExecutableFile(atPath: $0)
    }

    /// Whether its tests run: where it is installed, and always in an automatic run, which fails without it.
    public static var isWanted: Bool { path != nil || isAutomaticRun }

    /// The source of a flattened tree, without comments and indentation.
    public static func source(of tree: [UInt8]) throws -> [String] {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path ?? "/usr/bin/dtc")
        process.arguments = ["-q", "-I", "dtb", "-O", "dts", "-"]
        let (input, output) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        // A tree is smaller than what a pipe holds, so neither side waits for the other.
        try input.fileHandleForWriting.write(contentsOf: Data(tree))
        try input.fileHandleForWriting.close()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw Refused(status: process.terminationStatus) }
        return text.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
    }

    /// The compiler could not read a tree.
    public struct Refused: Error {
        /// Its exit status.
        public let status: Int32
    }

    /// A u64 property as the compiler prints it, which believes that its cells are big-endian.
    public static func cells(_ value: UInt64) -> String {
        let bytes = nativeBytes(value)
        let cells = [bytes[..<4], bytes[4...]].map { cell in cell.reduce(UInt32(0)) { $0 << 8 | UInt32($1) } }
        return "<" + cells.map { "0x" + hexadecimal($0) }.joined(separator: " ") + ">"
    }

    private static func hexadecimal(_ value: UInt32) -> String {
        let digits = String(value, radix: 16)
        return digits.count == 1 ? "0\(digits)" : digits
    }
}

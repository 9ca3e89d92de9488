import Glibc
import Platform
import SystemPackage

/// The device tree compiler, dtc(1): a reader of trees that is not ours.
public enum DeviceTreeCompiler {
    private static let path = ["/usr/bin/dtc", "/usr/local/bin/dtc"].first { (path: String) in
        unsafe access(path, X_OK) == 0
    }

    /// Whether its tests run: where it is installed, and always in an automatic run, which fails without it.
    public static var isWanted: Bool { path != nil || isAutomaticRun }

    /// The source of a flattened tree, without comments and indentation.
    public static func source(of tree: [UInt8]) throws -> [String] {
        let file = try makeMemoryFile(named: "tree.dtb", size: 0)
        try file.borrowed.writeAll(tree)
        let number = file.borrowed.rawValue
        let arguments = ["dtc", "-q", "-I", "dtb", "-O", "dts", "/proc/self/fd/\(number)"]
        let image = ProgramImage(path: path ?? "/usr/bin/dtc", arguments: arguments)
        let process = try ChildProcess.start(image, inherited: [file.borrowed])
        let text = process.readOutput(within: 10_000) ?? ""
        let status = process.finish()
        guard status == 0 else { throw Refused(status: status) }
        let lines: [Substring] = text.split(separator: "\n")
        return lines.map { line in String(line.drop { $0.isWhitespace }) }
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

// SPDX-License-Identifier: Apache-2.0
package import FoundationEssentials
import LiveUpdatePlatform
package import SystemPackage

/// Reads an input that is named on the command line: a file, or a pipe such as `/dev/stdin` or a shell's `<(command)`.
package enum InputFile {
    /// The most bytes of an input. A longer input is a mistake, such as a device that has no end.
    private static let most = 64 << 20

    /// - Throws: exit code 64, with the problem of the input.
    package static func read(_ path: String) throws -> Data {
        do {
            let file = try openFile(path)
            let data = try read(file.borrowed)
            // The descriptor stays open until here.
            _ = consume file
            return data
        } catch {
            throw Exit.usage("\(path): cannot be read: \(error); name a file or a pipe that can be read")
        }
    }

    /// Reads until the end of the file.
    ///
    /// - Throws: EFBIG above 64 MiB, and the errors of read(2).
    package static func read(_ file: FileDescriptor) throws -> Data {
        var data = Data()
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = try unsafe chunk.withUnsafeMutableBytes { try unsafe file.read(into: $0) }
            if count == 0 { return data }
            data += chunk[..<count]
            if data.count > most { throw Errno.fileTooLarge }
        }
    }
}

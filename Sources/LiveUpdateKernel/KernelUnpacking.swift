// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
package import SystemPackage

/// The content of an image file: its header, and the formats of the kernel in it.
package struct KernelFile: Equatable, Sendable {
    /// The path of the file.
    package let path: FilePath
    /// The header; nil for a processor other than x86. Images of other processors are not read.
    package let image: KernelImage?
    /// The formats, or the reason why the kernel could not be unpacked.
    package let formats: Result<KernelFormats, UnpackingFailure>

    /// The size in bytes, and the CRC32C of the whole file. Only the checked kernel may be loaded.
    package let size: UInt64, checksum: UInt32

    /// Describes a file with this content.
    package init(
        path: FilePath, image: KernelImage?, formats: Result<KernelFormats, UnpackingFailure>, content: [UInt8]
    ) {
        self.path = path
        self.image = image
        self.formats = formats
        size = UInt64(content.count)
        checksum = CRC32C.of(content)
    }

    /// The reason why a file is not usable at all.
    package enum Failure: Error, Equatable, Sendable {
        /// The file cannot be opened or read; EINVAL when it is not a regular file or is empty, EFBIG above 1 GiB.
        case unreadable(Errno)
        /// The file is no image.
        case defective(KernelImage.Defect)
    }

    /// The reason why the kernel in an image could not be unpacked.
    package enum UnpackingFailure: Error, Equatable, Sendable, CustomStringConvertible {
        /// The image is for another processor.
        case otherProcessor
        /// The program that unpacks this format is not installed.
        case noProgram(String)
        /// The program failed, or printed no kernel.
        case failed(String)

        /// The package with the program that is not installed, as Debian calls it; nil for other failures.
        var package: String? {
            guard case .noProgram(let name) = self else { return nil }
            return name == "xz" ? "xz-utils" : name
        }

        /// The reason, as a clause.
        package var description: String {
            switch self {
            case .otherProcessor: "luoctl reads only images for x86"
            case .noProgram(let name): "the kernel in it is packed with \(name), which is not installed"
            case .failed(let reason): "the kernel in it cannot be unpacked: \(reason)"
            }
        }
    }

    /// The most bytes of an image. A larger file is something else.
    private static let most: UInt64 = 1 << 30

    /// Reads and unpacks an image. gzip, xz and other programs do the unpacking.
    ///
    /// - Parameters:
    ///   - path: the path of the image.
    ///   - directories: the directories in which these programs are looked for.
    /// - Returns: the content. A kernel that could not be unpacked is a part of it.
    /// - Throws: the reason why the file is not usable at all.
    package static func read(
        _ path: FilePath, programsIn directories: [FilePath] = ["/usr/bin", "/bin", "/usr/local/bin"]
    ) throws(Failure) -> KernelFile {
        let bytes: [UInt8]
        do throws(SystemCallError) {
            let status = try FileStatus(at: path.string)
            // A file of /proc has no size, and reading such a file may wait forever.
            guard status.isRegular, status.size > 0 else { throw SystemCallError("open", .invalidArgument) }
            guard status.size <= most else { throw SystemCallError("open", .fileTooLarge) }
            bytes = try readBytes(path.string)
        } catch {
            throw .unreadable(error.errno)
        }
        #if arch(x86_64)
            let image: KernelImage
            do throws(KernelImage.Defect) { image = try KernelImage(bytes) } catch { throw .defective(error) }
            let unpacker = Unpacker(compression: image.compression, directories: directories)
            return KernelFile(
                path: path, image: image, formats: unpacker.formats(bytes[image.packedKernel]), content: bytes)
        #else
            return KernelFile(path: path, image: nil, formats: .failure(.otherProcessor), content: bytes)
        #endif
    }
}

/// Unpacks a kernel through a program, and looks for the names of formats in it.
private struct Unpacker {
    let compression: KernelImage.Compression
    let directories: [FilePath]

    func formats(_ packed: ArraySlice<UInt8>) -> Result<KernelFormats, KernelFile.UnpackingFailure> {
        if compression == .none {
            var scanner = KernelFormats.Scanner()
            scanner.scan(packed)
            return .success(scanner.formats)
        }
        let name = compression == .lzma ? "xz" : compression.rawValue
        let places = directories.map { $0.appending(name) }
        guard let program = places.first(where: { (try? FileStatus(at: $0.string))?.isRegular == true }) else {
            return .failure(.noProgram(name))
        }
        do throws(SystemCallError) {
            return try unpack(packed, with: program, name)
        } catch {
            return .failure(.failed("\(program): \(error)"))
        }
    }

    private func unpack(
        _ packed: ArraySlice<UInt8>, with program: FilePath, _ name: String
    ) throws(SystemCallError) -> Result<KernelFormats, KernelFile.UnpackingFailure> {
        // A file, because a pipe would need another thread to fill it.
        let input = try makeMemoryFile(named: "kernel", size: 0)
        try input.borrowed.writeWhole(Array(packed))
        try input.borrowed.setPosition(0)
        let process = try ChildProcess.start(
            ProgramImage(path: program, arguments: [name, "-dc"]), standardInput: input.borrowed, isQuiet: true)
        var scanner = KernelFormats.Scanner()
        var beginning: [UInt8] = []
        var count = 0
        let reading = Result { () throws(SystemCallError) in
            try process.forEachChunk { piece in
                if beginning.count < 4 { beginning += piece.prefix(4) }
                count += piece.count
                scanner.scan(piece)
            }
        }
        let status = process.finish()
        _ = try reading.get()
        guard status == 0 else { return .failure(.failed("\(program) ended with \(status) after \(count) bytes")) }
        guard beginning.starts(with: [0x7F, 0x45, 0x4C, 0x46]) else {
            return .failure(.failed("\(program) unpacked \(count) bytes that are no kernel"))
        }
        return .success(scanner.formats)
    }
}

// SPDX-License-Identifier: Apache-2.0
import Foundation
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateKernel

/// An image that has the fields of the boot protocol, and a kernel that is no kernel.
struct MadeImage {
    var version = "7.3.4 (build@host) #2 SMP"
    /// An unpacked kernel with the names of some formats.
    var kernel = MadeImage.kernel(["kho-v4", "luo-v5", "memfd-v2"])
    var isSigned = false
    /// Packs the kernel.
    var pack: ([UInt8]) throws -> [UInt8] = { $0 }

    static func kernel(_ formats: [String]) -> [UInt8] {
        var bytes: [UInt8] = [0x7F, 0x45, 0x4C, 0x46] + [UInt8](repeating: 0xFF, count: 5000)
        for format in formats { bytes += Array(format.utf8) + [0, 0xFF] }
        return bytes + Array("luo-v9x\0xluo-v8\0luo-v\0luo-x7\0".utf8)
    }

    func bytes() throws -> [UInt8] {
        let packed = try pack(kernel)
        var image = [UInt8](repeating: 0, count: 0x1000)
        func put(_ number: Int, _ count: Int, at offset: Int) {
            for index in 0..<count { image[offset + index] = UInt8(truncatingIfNeeded: number >> (8 * index)) }
        }
        put(7, 1, at: 0x1F1)
        put(0xAA55, 2, at: 0x1FE)
        image.replaceSubrange(0x202..<0x206, with: Array("HdrS".utf8))
        put(0x20F, 2, at: 0x206)
        put(0x400, 2, at: 0x20E)
        put(1, 2, at: 0x236)
        put(2047, 4, at: 0x238)
        put(16, 4, at: 0x248)
        put(packed.count, 4, at: 0x24C)
        image.replaceSubrange(0x600..<0x600 + version.utf8.count, with: Array(version.utf8))
        if isSigned {
            image.replaceSubrange(0..<2, with: Array("MZ".utf8))
            put(0x40, 4, at: 0x3C)
            image.replaceSubrange(0x40..<0x42, with: Array("PE".utf8))
            put(0x20B, 2, at: 0x58)
            put(0x2000, 4, at: 0x58 + 112 + 32)
            put(1472, 4, at: 0x58 + 112 + 36)
        }
        return image + [UInt8](repeating: 0, count: 16) + packed
    }
}

#if arch(x86_64)
    @Suite struct KernelImageTests {
        @Test func headerIsRead() throws {
            let image = try KernelImage(try MadeImage().bytes())
            #expect(image.version == "7.3.4 (build@host) #2 SMP")
            #expect(image.release == "7.3.4")
            #expect(image.commandLineLimit == 2047)
            #expect(image.compression == .none)
            #expect(!image.isSigned)
            #expect(try KernelImage(try MadeImage(isSigned: true).bytes()).isSigned)
        }

        /// Every image that is cut off, and every one with a changed byte in its header, is read or refused, without a
        /// crash.
        @Test func damagedImagesAreRefused() throws {
            let bytes = try MadeImage(isSigned: true).bytes()
            #expect(throws: KernelImage.Defect(description: "the file is no bzImage")) { try KernelImage([]) }
            for count in stride(from: 0, to: bytes.count, by: 37) {
                #expect(throws: KernelImage.Defect.self) { try KernelImage(Array(bytes[..<count])) }
            }
            for offset in 0..<0x260 {
                for value in [UInt8](arrayLiteral: 0, 1, 0x7F, 0xFF) {
                    var damaged = bytes
                    damaged[offset] = value
                    _ = try? KernelImage(damaged)
                }
            }
        }

        @Test(arguments: ["gzip", "xz", "zstd", "lz4"]) func formatsOfAPackedKernelAreFound(tool: String) throws {
            let directory = try TemporaryDirectory()
            let program = ["/usr/bin/\(tool)", "/bin/\(tool)"].first {
                FileManager.default.isExecutableFile(atPath: $0)
            }
            // A machine without the program cannot pack a kernel for this test.
            guard program != nil else { return }
            let path = directory.file("vmlinuz")
            let image = MadeImage { kernel in
                let raw = directory.file("kernel")
                try Data(kernel).write(to: URL(fileURLWithPath: raw))
                // Kernels are packed in the old format of lz4.
                let options = tool == "lz4" ? ["-lzc"] : ["-c"]
                let packed = try Self.output(of: tool, options, raw)
                let size = (0..<4).map { UInt8(truncatingIfNeeded: kernel.count >> (8 * $0)) }
                return packed + (tool == "gzip" ? [] : size)
            }
            try Data(try image.bytes()).write(to: URL(fileURLWithPath: path))
            let file = try KernelFile.read(FilePath(path))
            #expect(file.image?.compression.rawValue == tool)
            #expect(try file.formats.get() == KernelFormats(["kho-v4", "luo-v5", "memfd-v2"]))

            // The program is missing.
            let without = try KernelFile.read(FilePath(path), programsIn: [FilePath(directory.path)])
            #expect(without.formats == .failure(.noProgram(tool)))

            // The packed kernel is damaged.
            var damaged = try image.bytes()
            for offset in damaged.count - 40..<damaged.count - 20 { damaged[offset] ^= 0x55 }
            try Data(damaged).write(to: URL(fileURLWithPath: path))
            guard case .failure(.failed) = try KernelFile.read(FilePath(path)).formats else {
                Issue.record("\(tool) unpacked a damaged kernel")
                return
            }
        }

        private static func output(of tool: String, _ options: [String], _ path: String) throws -> [UInt8] {
            // Process of Foundation leaks memory, which the address sanitizer reports.
            let packed = path + ".packed"
            let command = "\(tool) \(options.joined(separator: " ")) '\(path)' >'\(packed)'"
            try #require(unsafe system(command) == 0)
            return Array(try Data(contentsOf: URL(fileURLWithPath: packed)))
        }

        @Test func filesThatAreNoImagesAreRefused() throws {
            let directory = try TemporaryDirectory()
            #expect(throws: KernelFile.Failure.unreadable(.noSuchFileOrDirectory)) {
                try KernelFile.read(FilePath(directory.file("nothing")))
            }
            #expect(throws: KernelFile.Failure.unreadable(.invalidArgument)) {
                try KernelFile.read(FilePath(directory.path))
            }
            // A read of this file waits for the kernel's next message.
            #expect(throws: KernelFile.Failure.unreadable(.invalidArgument)) {
                try KernelFile.read("/proc/kmsg")
            }
            try Data("text".utf8).write(to: URL(fileURLWithPath: directory.file("text")))
            #expect(throws: KernelFile.Failure.defective(KernelImage.Defect(description: "the file is no bzImage"))) {
                try KernelFile.read(FilePath(directory.file("text")))
            }
        }

        /// A name can be in two pieces.
        @Test func formatsAreFoundInPieces() {
            let kernel = MadeImage.kernel(["kho-v4", "luo-v5", "memfd-v12"])[...]
            for size in [1, 2, 3, 7, 64, 100, 4999] {
                var scanner = KernelFormats.Scanner()
                var rest = kernel
                while !rest.isEmpty {
                    scanner.scan(rest.prefix(size))
                    rest = rest.dropFirst(size)
                }
                #expect(scanner.formats == KernelFormats(["kho-v4", "luo-v5", "memfd-v12"]), "pieces of \(size)")
            }
        }
    }
#endif

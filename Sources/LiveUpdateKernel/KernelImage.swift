// SPDX-License-Identifier: Apache-2.0

/// An image of a kernel for x86, a bzImage: "The Linux/x86 Boot Protocol" of the kernel's documentation. Images for
/// other processors have another format, which this type does not read.
package struct KernelImage: Equatable, Sendable {
    /// The way in which the kernel is packed.
    package enum Compression: String, Equatable, Sendable {
        case none, gzip, bzip2, lzma, xz, lz4, zstd

        /// Recognizes the first bytes of packed data.
        init?(_ bytes: ArraySlice<UInt8>) {
            let known: [([UInt8], Compression)] = [
                ([0x7F, 0x45, 0x4C, 0x46], .none), ([0x1F, 0x8B], .gzip), ([0x1F, 0x9E], .gzip),
                ([0x42, 0x5A], .bzip2),
                ([0x5D, 0x00], .lzma), ([0xFD, 0x37], .xz), ([0x02, 0x21], .lz4), ([0x28, 0xB5], .zstd),
            ]
            guard let found = known.first(where: { bytes.starts(with: $0.0) }) else { return nil }
            self = found.1
        }
    }

    /// The reason why a file is no image that can be loaded.
    package struct Defect: Error, Equatable, Sendable, CustomStringConvertible {
        /// The reason in words.
        package let description: String
    }

    /// The release and the build of the kernel, as in /proc/version; nil when the image does not say.
    package let version: String?
    /// The longest command line, in bytes.
    package let commandLineLimit: Int
    /// Whether a signature for secure boot is attached. This machine may not accept the signature.
    package let isSigned: Bool
    /// The way in which the kernel is packed.
    package let compression: Compression
    /// The packed kernel's place in the image.
    package let payload: Range<Int>

    /// The release, as uname(1) prints it.
    package var release: String? { version?.split(separator: " ").first.map(String.init) }

    /// Reads the header of an image.
    ///
    /// - Parameter bytes: the whole image.
    /// - Throws: the reason why the file is no image that can be loaded.
    package init(_ bytes: [UInt8]) throws(Defect) {
        let header = Header(bytes: bytes)
        guard bytes.count >= 0x1000, header.word(0x1FE) == 0xAA55, bytes[0x202..<0x206].elementsEqual("HdrS".utf8)
        else { throw Defect(description: "the file is no bzImage") }
        // Since version 2.12 the header says whether the kernel can be entered in 64-bit mode, as kexec does.
        guard header.word(0x206) >= 0x20C, header.word(0x236) & 1 != 0 else {
            throw Defect(description: "the image has no entry in 64-bit mode, which kexec needs")
        }
        // A zero means 4, for images of old boot loaders.
        let setupSectors = bytes[0x1F1] == 0 ? 4 : Int(bytes[0x1F1])
        let protected = (setupSectors + 1) * 512
        let start = protected + Int(header.long(0x248))
        let length = Int(header.long(0x24C))
        guard length >= 8, start + length <= bytes.count else {
            throw Defect(
                description:
                    "the image is incomplete: its kernel ends at byte \(start + length), and the file has \(bytes.count)"
            )
        }
        guard let compression = Compression(bytes[start..<start + length]) else {
            throw Defect(description: "the kernel in the image is packed in an unknown format")
        }
        self.compression = compression
        payload = start..<start + length
        commandLineLimit = Int(header.long(0x238))
        version = header.text(at: Int(header.word(0x20E)) + 0x200, before: protected)
        isSigned = header.hasSignature
    }

    /// The packed kernel, for the program that unpacks it. In all packed formats but gzip, the last 4 bytes of the
    /// payload are the size of the unpacked kernel, and do not belong to the packed data.
    package var packedKernel: Range<Int> {
        switch compression {
        case .gzip, .none: payload
        default: payload.lowerBound..<payload.upperBound - 4
        }
    }
}

/// The fields of the image, in little-endian order.
private struct Header {
    let bytes: [UInt8]

    func word(_ offset: Int) -> UInt16 { UInt16(bytes[offset]) | UInt16(bytes[offset + 1]) << 8 }
    func long(_ offset: Int) -> UInt32 { UInt32(word(offset)) | UInt32(word(offset + 2)) << 16 }

    func text(at offset: Int, before end: Int) -> String? {
        guard offset > 0x200, offset < end, end <= bytes.count else { return nil }
        let text = bytes[offset..<end].prefix { $0 != 0 }
        return text.isEmpty ? nil : String(decoding: text, as: UTF8.self)
    }

    /// Whether the image is an EFI program with a table of certificates: entry 4 of the data directories of the PE
    /// format.
    var hasSignature: Bool {
        guard bytes[0] == 0x4D, bytes[1] == 0x5A else { return false }
        let start = Int(long(0x3C))
        guard start + 24 + 152 <= bytes.count, bytes[start..<start + 4].elementsEqual([0x50, 0x45, 0, 0]) else {
            return false
        }
        // The directories are behind 112 bytes of the optional header in the 64-bit format, and 96 in the other.
        let isLong = word(start + 24) == 0x20B
        let entry = start + 24 + (isLong ? 112 : 96) + 4 * 8
        return long(entry) != 0 && long(entry + 4) != 0
    }
}

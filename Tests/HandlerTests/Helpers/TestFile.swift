// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform
import SystemPackage

/// A file of a test. It is closed with the last reference to this object.
final class TestFile: Sendable {
    private let owned: OwnedDescriptor

    init(_ owned: consuming OwnedDescriptor) { self.owned = owned }

    /// Takes over a descriptor.
    convenience init(taking descriptor: FileDescriptor) { self.init(OwnedDescriptor(taking: descriptor)) }

    /// A memory file of zeros.
    convenience init(size: UInt64, pageSize: PageSize = .base) throws {
        self.init(try makeMemoryFile(named: "test", size: size, pageSize: pageSize))
    }

    /// A memory file in which some pages exist. Each page begins with its own number.
    convenience init(pages: [UInt64], of count: UInt64, pageSize: PageSize = .base) throws {
        try self.init(size: count * pageSize.bytes, pageSize: pageSize)
        for page in pages { try fill(page: page, pageSize) }
    }

    /// Another descriptor of the same file, with an open file description of its own.
    convenience init(reopening file: TestFile, _ flags: CInt) throws {
        let number = unsafe open("/proc/self/fd/\(file.descriptor.rawValue)", flags | O_CLOEXEC)
        guard number >= 0 else { throw SystemCallError("open", Errno(rawValue: Glibc.errno)) }
        self.init(taking: FileDescriptor(rawValue: number))
    }

    /// The descriptor of the file, which callers may use but not close.
    var descriptor: FileDescriptor { owned.borrowed }

    /// Makes a page exist by a store through a mapping, which is necessary for huge pages. The page is allocated first,
    /// so that an empty pool gives an error and not a SIGBUS.
    func fill(page: UInt64, _ pageSize: PageSize) throws {
        try descriptor.allocate(offset: page * pageSize.bytes, length: pageSize.bytes)
        let mapping = try Mapping(
            of: descriptor, offset: page * pageSize.bytes, length: pageSize.bytes, .shared(writable: true))
        unsafe mapping.bytes.storeBytes(of: Self.word(of: page), as: UInt64.self)
    }

    /// The first word of an existing page.
    func word(page: UInt64, _ pageSize: PageSize) throws -> UInt64 {
        let mapping = try Mapping(
            of: descriptor, offset: page * pageSize.bytes, length: pageSize.bytes, .shared(writable: false))
        return unsafe mapping.bytes.load(as: UInt64.self)
    }

    static func word(of page: UInt64) -> UInt64 { (page + 1) &* 0x9E37_79B9_7F4A_7C15 }

    /// The memory of the file in units of 512 bytes, `st_blocks`.
    var blocks: Int {
        var status = stat()
        unsafe fstat(descriptor.rawValue, &status)
        return Int(status.st_blocks)
    }

    var status: FileStatus { get throws { try FileStatus(of: descriptor) } }

    /// The ranges of an ordinary memory file that have data.
    var extents: [Extent] {
        get throws {
            let own = try descriptor.reopenedForReading()
            return try dataExtents(of: own.borrowed, size: try status.size)
        }
    }
}

/// The ranges of a file with these pages that have data.
func extents(ofPages pages: [UInt64], pageSize: PageSize = .base) -> [Extent] {
    var extents: [Extent] = []
    for page in pages.sorted() {
        let offset = page * pageSize.bytes
        if let last = extents.last, last.end == offset {
            extents[extents.count - 1].length += pageSize.bytes
        } else {
            extents.append(Extent(offset: offset, length: pageSize.bytes))
        }
    }
    return extents
}

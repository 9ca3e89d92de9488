// SPDX-License-Identifier: Apache-2.0
import FuzzSupport

@testable import LiveUpdateCore
@testable import LiveUpdateHandlers
@testable import LiveUpdateHandover
@testable import LiveUpdatePlatform

// Reads the records of handlers and of the HugeTLB FLB. An input is a handle, u64, and the content of the arena from
// byte 4096 on. Each reader accepts or refuses it. An accepted record says nothing impossible, and is the same when it
// is written again.

private let place: UInt64 = 4096
private let room = 16384

/// The arena is made once. Each input only overwrites the range that is allocated in it.
private let (arena, getters): (Arena, FLBGetters) = {
    do {
        let arena = try Arena.make(World.options)
        let orchestrator = Orchestrator(arena: arena, descriptors: try FixedFiles())
        try arena.claim(inUse: [])
        let range = try arena.allocate(UInt64(room))
        check(range.offset == place, "allocated at \(range.offset)")
        return (arena, try orchestrator.flbs)
    } catch {
        fatalError("no arena: \(error)")
    }
}()

@_cdecl("LLVMFuzzerInitialize")
public func initialize(_: UnsafeMutableRawPointer?, _: UnsafeMutableRawPointer?) -> CInt {
    writeSeedsIfAsked { try seeds() }
    return 0
}

@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = unsafe input(start, count)
    guard bytes.count >= 8 else { return -1 }
    let content = bytes.dropFirst(8).prefix(room)
    arena.write(content + [UInt8](repeating: 0, count: room - content.count), at: place)
    let (data, storage) = (bytes[UInt64.self, at: 0], Storage(arena))
    readMemfd(data, storage)
    readHugeMemfd(data, storage)
    readHugetlbfsFile(data, storage)
    for kind in [MemfdRecord.compatible, HugeMemfdRecord.compatible, HugetlbfsFileRecord.compatible] {
        _ = try? PageMap.read(kind, at: data, in: storage)?.present
    }
    readHugeTLB(data, storage)
    return 0
}

private func readMemfd(_ data: UInt64, _ storage: Storage) {
    guard let record = try? MemfdRecord(at: data, in: storage) else { return }
    var found = (try? storage.read(at: data, count: MemfdRecord.length)) ?? []
    // This is the only field without a meaning.
    if found.count == 40 { found[UInt32.self, at: 20] = 0 }
    check(record.bytes == found, "another record")
    guard let extents = try? record.extents(in: storage) else { return }
    var end: UInt64 = 0
    for extent in extents {
        check(extent.offset >= end && extent.end <= record.size, "an extent that cannot be")
        end = extent.end
    }
}

private func readHugeMemfd(_ data: UInt64, _ storage: Storage) {
    guard let record = try? HugeMemfdRecord(at: data, in: storage) else { return }
    check((try? storage.read(at: data, count: HugeMemfdRecord.length)) == record.bytes, "another record")
    guard let pages = try? record.pages(in: storage) else { return }
    check(pages.count == Int(record.folios), "another number of pages")
    for (page, next) in zip(pages, pages.dropFirst()) { check(page.index < next.index, "pages out of order") }
    if let last = pages.last { check(last.index * PageSize.base.bytes < record.size, "a page behind the end") }
}

private func readHugetlbfsFile(_ data: UInt64, _ storage: Storage) {
    guard let record = try? HugetlbfsFileRecord(at: data, in: storage) else { return }
    var found = (try? storage.read(at: data, count: UInt64(record.bytes.count))) ?? []
    // These are the only bytes without a meaning.
    if found.count > 44 { found.replaceSubrange(41..<44, with: [0, 0, 0]) }
    check(record.bytes == found, "another record")
    check(record.path.isAbsolute, "a path that leads from anywhere: \(record.path)")
}

private func readHugeTLB(_ data: UInt64, _ storage: Storage) {
    let context = FLBContext(direction: .incoming, data: data, storage: storage, flbs: getters, users: [])
    guard let state = try? HugeTLB().resume(context) else { return }
    var writer = ByteWriter()
    state.settings.encode(into: &writer)
    var reader = ByteReader(writer.bytes, "settings")
    check((try? HugeTLBSettings(&reader)) == state.settings, "other settings")
    _ = state.pagesPreserved(of: .huge2M)
}

// MARK: Seeds

/// Each kind of record, as it is stored.
private func seeds() throws -> [Seed] {
    let extents = [Extent(offset: 0, length: 4096), Extent(offset: 8192, length: 4096)]
    return [
        try seed("memfd") { storage throws(LiveUpdateError) in
            try storage.store(
                MemfdRecord(size: 12288, position: 7, seals: [.grow, .seal], extents: extents, in: storage).bytes)
        },
        try seed("memfd-empty") { storage throws(LiveUpdateError) in
            try storage.store(MemfdRecord(size: 0, position: 0, seals: [], extents: [], in: storage).bytes)
        },
        try seed("huge-memfd") { storage throws(LiveUpdateError) in try storeHugeMemfd(pages: 3, storage) },
        try seed("huge-memfd-empty") { storage throws(LiveUpdateError) in try storeHugeMemfd(pages: 0, storage) },
        try seed("huge-memfd-pages") { storage throws(LiveUpdateError) in try storeHugeMemfd(pages: 300, storage) },
        try seed("hugetlbfs-file") { storage throws(LiveUpdateError) in
            let record = HugetlbfsFileRecord(
                try hugeMemfd(pages: 3, storage), mode: .readWrite, path: "/dev/hugepages/guest")
            return try storage.store(record.bytes)
        },
        try seed("hugetlb") { storage throws(LiveUpdateError) in
            let context = FLBContext(direction: .outgoing, data: 0, storage: storage, flbs: getters, users: [])
            return try HugeTLB().preserve(context).data
        },
    ]
}

private func storeHugeMemfd(pages: UInt64, _ storage: Storage) throws(LiveUpdateError) -> UInt64 {
    try storage.store(hugeMemfd(pages: pages, storage).bytes)
}

private func hugeMemfd(pages: UInt64, _ storage: Storage) throws(LiveUpdateError) -> HugeMemfdRecord {
    let folios = (0..<pages).map { HugePage(index: $0 * 1024, frame: 512 * $0) }
    return try HugeMemfdRecord(size: 2 * pages << 21, position: 1, pages: folios, pageSize: .huge2M, in: storage)
}

/// An arena that contains only the records of one callback.
private func seed(_ name: String, _ store: (Storage) throws(LiveUpdateError) -> UInt64) throws -> Seed {
    let arena = try Arena.make(World.options)
    try arena.claim(inUse: [])
    let data = try store(Storage(arena))
    let bytes = try arena.read(at: place, count: arena.used - place)
    var seed = [UInt8](repeating: 0, count: 8)
    seed[UInt64.self, at: 0] = data
    return (name, seed + bytes)
}

// SPDX-License-Identifier: Apache-2.0
public import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// The state of the huge page pools, shared by all hugetlb files: the HugeTLB FLB.
///
/// 1. The first preserved hugetlb file records the settings of the pools.
/// 2. While the FLB is preserved, and after its retrieve in the next boot, ``HugeTLBState/changes()`` lists the
///    settings that have changed.
/// 3. When an update is published, the pages of each size are summed up over the files that travel. A file that several
///    users preserved is counted once.
///
/// If it may mend, the retrieve sets the pools back, to absolute numbers that are never below the preserved pages. By
/// default it writes nothing, because the pools belong to the administrator.
public final class HugeTLB: FileLifecycleBound {
    public let compatible = HugeTLBRecord.compatible
    /// The handlers with records that begin with a ``HugeMemfdRecord``.
    private static let users: Set<String> = [HugeMemfdRecord.compatible, HugetlbfsFileRecord.compatible]
    private let mends: Bool

    /// Makes the FLB.
    ///
    /// - Parameter mendingPools: whether retrieve may write pool settings back.
    public init(mendingPools: Bool = false) { mends = mendingPools }

    public func preserve(_ context: FLBContext) throws(LiveUpdateError) -> (data: UInt64, object: HugeTLBState) {
        let settings = HugeTLBSettings(try Self.pools())
        let data = try store(HugeTLBRecord(pages: [:]), settings, in: context.storage)
        return (data, HugeTLBState(settings: settings, preserved: HugeTLBRecord(pages: [:])))
    }

    public func unpreserve(_ object: HugeTLBState, _ context: FLBContext) {}

    public func serialize(_ object: HugeTLBState, _ context: FLBContext) throws(LiveUpdateError) -> UInt64 {
        var files: [FileIdentity: (pageSize: PageSize, pages: UInt64)] = [:]
        for user in context.users where Self.users.contains(user.compatible) {
            let record = try HugeMemfdRecord(at: user.data, in: context.storage)
            // Several users can have recorded one file. Each record has the number of pages at its own preserve.
            files[user.identity] = (record.pageSize, max(record.folios, files[user.identity]?.pages ?? 0))
        }
        var pages: [PageSize: UInt64] = [:]
        for file in files.values { pages[file.pageSize, default: 0] += file.pages }
        return try store(HugeTLBRecord(pages: pages), object.settings, in: context.storage)
    }

    public func retrieve(_ context: FLBContext) throws(LiveUpdateError) -> HugeTLBState {
        let state = try resume(context)
        if mends { try state.mend() }
        return state
    }

    public func finish(_ object: HugeTLBState, _ context: FLBContext) {}

    public func resume(_ context: FLBContext) throws(LiveUpdateError) -> HugeTLBState {
        let head = try context.storage.read(at: context.data, count: UInt64(Self.headLength))
        do throws(ArenaError) {
            var reader = ByteReader(head, compatible)
            let record = try HugeTLBRecord(&reader)
            _ = try reader.take(count: Self.headLength - HugeTLBRecord.length - 8)
            let length = try reader.take(UInt64.self)
            return HugeTLBState(settings: try settings(context, length: length), preserved: record)
        } catch {
            throw LiveUpdateError(error)
        }
    }

    private func settings(_ context: FLBContext, length: UInt64) throws(ArenaError) -> HugeTLBSettings {
        guard let bytes = try? context.storage.read(at: context.data + UInt64(Self.headLength), count: length) else {
            throw ArenaError(.record, "pool settings of \(length) bytes")
        }
        var reader = ByteReader(bytes, HugeTLBSettings.compatible)
        return try HugeTLBSettings(&reader)
    }

    /// The `hugetlb-v1` record, zeros up to 48, and the length of the settings that follow.
    private static let headLength = 56

    private func store(
        _ record: HugeTLBRecord, _ settings: HugeTLBSettings, in storage: Storage
    ) throws(LiveUpdateError) -> UInt64 {
        var tail = ByteWriter(capacity: 256)
        settings.encode(into: &tail)
        var writer = ByteWriter(capacity: Self.headLength + tail.bytes.count)
        record.encode(into: &writer)
        writer.pad(Self.headLength - 8 - HugeTLBRecord.length)
        writer.put(UInt64(tail.bytes.count))
        writer.put(tail.bytes)
        return try storage.store(writer.bytes)
    }

    private static func pools() throws(LiveUpdateError) -> [HugePagePool] {
        do {
            return try HugePagePool.all()
        } catch {
            throw LiveUpdateError(error, "reading the huge page pools")
        }
    }
}

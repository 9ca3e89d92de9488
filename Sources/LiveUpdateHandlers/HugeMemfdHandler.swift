// SPDX-License-Identifier: Apache-2.0
public import LiveUpdateCore
import LiveUpdatePlatform
public import SystemPackage

/// Preserves hugetlb memory files: memfd_create(2) with `MFD_HUGETLB`, of any huge page size, and files of a hugetlbfs
/// mount that have no name any more, which are the same thing.
///
/// The handler works as ``MemfdHandler``. It also records the huge pages that exist, with their page frames. It
/// allocates no pages, so it works for sealed and read-only descriptors, and with an empty pool. Its files depend on
/// ``HugeTLB``.
public final class HugeMemfdHandler: FileHandler {
    public let compatible = HugeMemfdHandler.format
    /// The compatible string.
    package static let format = HugeMemfdRecord.compatible

    /// Makes the handler. It has no state.
    public init() {}

    public func canPreserve(_ descriptor: FileDescriptor) -> Acceptance {
        HugeFile.canPreserve(descriptor, named: false)
    }

    public func preserve(_ file: FileContext) throws(LiveUpdateError) -> UInt64 {
        try file.storage.store(file.describeHugePages().bytes)
    }

    public func unpreserve(_ file: FileContext) {}

    public func freeze(_ file: FileContext) throws(LiveUpdateError) -> UInt64 { try file.freeze(HugeMemfdRecord.self) }

    public func freezeCheck(_ file: FileContext) -> (@Sendable () -> Bool)? { file.freezeCheck(HugeMemfdRecord.self) }

    public func freezeObstacle(_ file: FileContext) -> LiveUpdateError? { file.freezeObstacle(HugeMemfdRecord.self) }

    public func retrieve(_ file: FileContext) throws(LiveUpdateError) -> RetrievedFile {
        try file.retrieveKept(HugeMemfdRecord.self)
    }

    public func finish(_ file: FileContext) {}
}

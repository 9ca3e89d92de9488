// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// The common part of the handlers of files on huge pages.
enum HugeFile {
    /// Whether a handler takes a file of hugetlbfs: a file with a name there if `named`, and otherwise a file without
    /// one.
    static func canPreserve(_ descriptor: FileDescriptor, named: Bool) -> Acceptance {
        do throws(SystemCallError) {
            // This comes first, because it asks no file system: a file system in user space may not answer.
            guard try descriptor.hasSeals() else {
                let isRegular = try FileStatus(cached: descriptor).isRegular
                return .refused(because: isRegular ? "not on huge pages" : "not a regular file")
            }
            guard case .hugetlbfs = try FileSystemKind(of: descriptor) else {
                return .refused(because: "not on huge pages")
            }
            let status = try FileStatus(of: descriptor)
            guard status.isRegular else { return .refused(because: "not a regular file") }
            guard (status.links > 0) == named else {
                return .refused(because: named ? "it has no name on hugetlbfs" : "it has a name on hugetlbfs")
            }
            return .accepted
        } catch {
            return .refused(because: "\(error)")
        }
    }
}

extension HugeFile {
    /// The error for a file when its huge pages cannot be found.
    static func explain(_ error: SystemCallError, token: UInt64) -> LiveUpdateError {
        guard let obstacle = UserfaultObstacle(error) else {
            return LiveUpdateError(error, "mapping the huge pages of token \(token)")
        }
        return LiveUpdateError(
            error.errno, "the huge pages of token \(token) cannot be found: \(obstacle.reason)", remedy: obstacle.remedy
        )
    }
}

extension FileContext {
    /// Records the huge pages that exist, with their frames, and allocates none.
    func describeHugePages() throws(LiveUpdateError) -> HugeMemfdRecord {
        let descriptor = try keptDescriptor()
        let size: UInt64
        let position: UInt64
        let pageSize: PageSize
        let pages: [HugePage]
        do throws(SystemCallError) {
            size = try FileStatus(of: descriptor).size
            position = UInt64(try descriptor.position())
            pageSize = try PageSize(ofHuge: descriptor)
            pages = try hugePages(of: descriptor, size: size, pageSize: pageSize)
        } catch {
            throw HugeFile.explain(error, token: token)
        }
        return try HugeMemfdRecord(size: size, position: position, pages: pages, pageSize: pageSize, in: storage)
    }

    /// The huge pages of a file. Only a descriptor that is open for reading can be mapped, so the file of a write-only
    /// descriptor is opened again.
    private func hugePages(
        of descriptor: FileDescriptor, size: UInt64, pageSize: PageSize
    ) throws(SystemCallError) -> [HugePage] {
        if try descriptor.openMode().isReadable {
            return try HugePageMap.pages(of: descriptor, size: size, pageSize: pageSize)
        }
        let readable = try descriptor.reopenedForReading()
        return try HugePageMap.pages(of: readable.borrowed, size: size, pageSize: pageSize)
    }
}

extension PageSize {
    /// The page size of the hugetlbfs that a file is on.
    fileprivate init(ofHuge descriptor: FileDescriptor) throws(SystemCallError) {
        guard case .hugetlbfs(let bytes) = try FileSystemKind(of: descriptor), let size = PageSize(bytes: bytes) else {
            throw SystemCallError("fstatfs", .invalidArgument)
        }
        self = size
    }
}

// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import SystemPackage

/// Checks that a file is unchanged.
struct DemoCheck {
    let item: DemoFile
    let entry: DemoNotes.File
    /// The page frames of the file when it was made.
    let frames: [UInt64]

    func run(_ descriptor: FileDescriptor, _ progress: borrowing Progress) throws(SystemCallError) -> Finding {
        var faults: [String] = []
        func compare<Value: Equatable>(_ what: String, _ now: Value, _ was: Value) {
            if now != was { faults.append("\(what): \(now), was \(was)") }
        }
        let status = try FileStatus(of: descriptor)
        compare("inode", status.identity.inode, entry.inode)
        compare("device", status.identity.device, entry.device)
        compare("size", status.size, entry.size)
        compare("position", try descriptor.position(), entry.position)
        compare("seals", try descriptor.seals().rawValue, entry.seals)
        let extents = try presentExtents(descriptor, size: status.size)
        compare("holes", extents.map(\.description), item.extents.map(\.description))
        let (crc, now) = try item.read(descriptor, extents, progress)
        compare("content, CRC32C", crc.checksum, entry.crc.checksum)
        return Finding(
            update: 0, token: entry.token, faults: faults, moved: moved(now), pages: now.count)
    }

    /// The exact map of the holes. Reading it fills no hole.
    private func presentExtents(_ descriptor: FileDescriptor, size: UInt64) throws(SystemCallError) -> [Extent] {
        guard item.pageSize != .base else {
            let own = try descriptor.reopenedForReading()
            return try dataExtents(of: own.borrowed, size: size)
        }
        var extents: [Extent] = []
        for page in try HugePageMap.pages(of: descriptor, size: size, pageSize: item.pageSize) {
            let offset = page.index * PageSize.base.bytes
            if let last = extents.last, last.end == offset {
                extents[extents.count - 1].length += item.pageSize.bytes
            } else {
                extents.append(Extent(offset: offset, length: item.pageSize.bytes))
            }
        }
        return extents
    }

    private func moved(_ now: [UInt64]) -> Int? {
        guard now.count == frames.count, !now.contains(0), !frames.contains(0) else { return nil }
        return zip(now, frames).count { $0 != $1 }
    }
}

extension Extent {
    fileprivate var description: String { "\(offset)+\(length)" }
}

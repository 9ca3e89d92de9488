// SPDX-License-Identifier: Apache-2.0
import LiveUpdate
import LiveUpdatePlatform
import SystemPackage

/// Records the time of the arena's last 8-byte store, in a file that the next image inherits. The last such store
/// before execve is the one that publishes, and nothing else tells when that happens.
final class PublishClock: StoreProbe {
    private let file: OwnedDescriptor
    private let mapping: Mapping

    init() throws(SystemCallError) {
        file = try makeMemoryFile(named: "published", size: PageSize.base.bytes)
        try file.borrowed.setCloseOnExec(false)
        mapping = try Mapping(of: file.borrowed, length: PageSize.base.bytes, .shared(writable: true))
        note(0)
    }

    var descriptor: FileDescriptor { file.borrowed }

    func willStore(bytes count: Int) -> Int {
        if count == 8 { note(monotonicNanoseconds()) }
        return count
    }

    // SAFETY: the mapping has a page.
    private func note(_ time: UInt64) { unsafe mapping.bytes.storeBytes(of: time, as: UInt64.self) }

    static func time(in descriptor: FileDescriptor) throws(SystemCallError) -> UInt64 {
        let mapping = try Mapping(of: descriptor, length: PageSize.base.bytes, .shared(writable: false))
        // SAFETY: the mapping has a page.
        return unsafe mapping.bytes.load(as: UInt64.self)
    }
}

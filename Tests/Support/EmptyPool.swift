// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import SystemPackage

/// A pool of huge pages of 2 MiB without a free page. This object holds all pages until it is released.
package final class EmptyPool {
    private var files: [FileDescriptor] = []

    /// Takes all free pages.
    package init() throws {
        while true {
            let size = try HugePagePool(.huge2M).available * PageSize.huge2M.bytes
            guard size > 0 else { return }
            let file = try makeMemoryFile(named: "taken", size: size, pageSize: .huge2M)
            // Other processes may have taken some pages meanwhile.
            guard (try? file.borrowed.allocate(offset: 0, length: size)) != nil else { continue }
            files.append(try file.borrowed.duplicated().release())
        }
    }

    deinit { for file in files { try? closeDescriptor(file) } }
}

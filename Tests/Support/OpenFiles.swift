// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform

/// The open descriptors of memory files, and of the files that describe them. They do not include files that the
/// runtime's threads open and close at any time, and the mount table, which a handler holds open.
package func openFiles() throws -> Set<CInt> {
    let ours = ["/memfd:", "/proc/", "/sys/", "anon_inode:[userfaultfd]"]
    return Set(
        try openDescriptors().filter { descriptor in
            let target = target(of: descriptor)
            return ours.contains { target.hasPrefix($0) } && !target.hasSuffix("/mountinfo")
        })
}

/// Whether no more files are open than before. The check is repeated, because a file that the runtime opens for a
/// moment disappears, and a leaked one stays.
package func nothingIsLeft(since before: Set<CInt>) throws -> Bool {
    for _ in 0..<100 {
        if try openFiles().isSubset(of: before) { return true }
        usleep(1000)
    }
    return false
}

private func target(of descriptor: CInt) -> String {
    var name = [CChar](repeating: 0, count: 256)
    let count = unsafe readlink("/proc/self/fd/\(descriptor)", &name, name.count)
    return String(decoding: name.prefix(max(count, 0)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

// SPDX-License-Identifier: Apache-2.0
import Glibc
import SystemPackage

/// A process that has a file open, or mapped so that stores reach the file.
package struct FileHolder: Equatable, Sendable {
    /// The number of the process.
    package var process: CInt
    /// The name of its program: at most 15 bytes.
    package var command: String
    /// Whether a signal or a tracer has stopped all threads of the process.
    package var isStopped: Bool
    /// Whether the process has a shared mapping of the file.
    package var isMapped: Bool

    /// Makes a holder.
    package init(process: CInt, command: String, isStopped: Bool, isMapped: Bool) {
        self.process = process
        self.command = command
        self.isStopped = isStopped
        self.isMapped = isMapped
    }
}

/// The processes that hold a file, from /proc. A descriptor on its way through a socket has no process and is not seen.
package struct FileHolders: Equatable, Sendable {
    /// The holders that this process may see, except this process itself.
    package var seen: [FileHolder] = []
    /// The numbers of the processes at which this process may not look.
    package var unseen: [CInt] = []

    /// Makes a list.
    package init(seen: [FileHolder] = [], unseen: [CInt] = []) {
        self.seen = seen
        self.unseen = unseen
    }

    /// Finds the holders of a file. Files of other file systems are not accessed.
    ///
    /// - Parameters:
    ///   - file: the identity of a memory file.
    ///   - others: processes that are not looked at.
    /// - Throws: ENOENT without /proc.
    package init(of file: FileIdentity, except others: Set<CInt>) throws(SystemCallError) {
        let own = getpid()
        for process in try processNumbers() where process != own && !others.contains(process) {
            do throws(SystemCallError) {
                let isMapped = try Self.hasMapped(file, process)
                let isOpen = try Self.hasOpen(file, process)
                guard isMapped || isOpen else { continue }
                seen.append(
                    FileHolder(
                        process: process, command: commandName(of: process), isStopped: Self.isStopped(process),
                        isMapped: isMapped))
            } catch {
                // Other errors come from a process that has ended, which holds nothing.
                if [.permissionDenied, .notPermitted].contains(error.errno) { unseen.append(process) }
            }
        }
    }

    private static func hasMapped(_ file: FileIdentity, _ process: CInt) throws(SystemCallError) -> Bool {
        try readWhole("/proc/\(process)/maps").split(separator: "\n").contains { line in
            MapsLine(line).map { $0.isShared && $0.file == file } ?? false
        }
    }

    private static func hasOpen(_ file: FileIdentity, _ process: CInt) throws(SystemCallError) -> Bool {
        for number in try descriptorNumbers(of: process) where isOpen(file, "/proc/\(process)/fd", number, process) {
            return true
        }
        return false
    }

    /// Whether a descriptor is of the file. Only a descriptor with the same inode number is followed, because the
    /// server of another file system may not answer. A descriptor that was closed meanwhile is not of the file.
    private static func isOpen(_ file: FileIdentity, _ place: String, _ number: CInt, _ process: CInt) -> Bool {
        guard let info = try? readWhole("/proc/\(process)/fdinfo/\(number)") else { return false }
        let inode = info.split(separator: "\n").first { $0.hasPrefix("ino:") }?.split(separator: "\t").last
        // Before Linux 5.14 there is no such line.
        if let inode, UInt64(inode) != file.inode { return false }
        guard let found = try? findFileBehind("\(place)/\(number)") else { return false }
        return (try? FileStatus(cached: found.borrowed).identity) == file
    }

    /// Whether all threads of a process are stopped. A process without visible threads is not, and a thread that has
    /// ended does not count.
    private static func isStopped(_ process: CInt) -> Bool {
        let threads = ((try? directoryEntries("/proc/\(process)/task")) ?? []).compactMap { CInt($0) }
        return !threads.isEmpty && threads.allSatisfy { SeenProcess($0)?.isStopped ?? true }
    }
}

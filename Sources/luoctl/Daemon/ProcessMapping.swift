// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// A mapping of another process, for `luoctl preserve --mapping`.
struct ProcessMapping {
    let process: CInt
    /// Any address in the mapping.
    let address: UInt64

    /// Opens the mapped file.
    ///
    /// - Throws: EFAULT when nothing is mapped there; EINVAL for a private mapping; EPERM without CAP_SYS_ADMIN; ESRCH
    ///   when there is no such process; and the errors of open(2).
    func file() throws(LiveUpdateError) -> OwnedDescriptor {
        do throws(SystemCallError) {
            let running = try RunningProcess(process)
            guard let area = try running.areas.first(where: { $0.range.contains(address) }) else {
                throw SystemCallError("map_files", .badAddress)
            }
            guard area.isShared, area.hasFile else { throw SystemCallError("map_files", .invalidArgument) }
            return try open(running.link(toFileOf: area), of: area)
        } catch {
            throw LiveUpdateError(error.errno, reason(error), remedy: remedy(error))
        }
    }

    private func open(_ link: String, of area: MappedArea) throws(SystemCallError) -> OwnedDescriptor {
        // A file of another kind stays unopened, and no handler accepts it then.
        let found = try findFileBehind(link)
        let status = try FileStatus(of: found.borrowed)
        guard status.isRegular else { return found }
        // The descriptor must not allow more than the mapping does: root may write to files that the process may only
        // read. The process may have mapped another file there meanwhile.
        guard area.mayBeWritten, status.identity == area.file else { return try found.borrowed.reopenedForReading() }
        do throws(SystemCallError) {
            return try openForWriting("/proc/self/fd/\(found.borrowed.rawValue)")
        } catch {
            // A file that may only be read can be preserved, too.
            return try found.borrowed.reopenedForReading()
        }
    }

    private func reason(_ error: SystemCallError) -> String {
        let subject = "address 0x\(String(address, radix: 16)) of process \(process)"
        return switch error.errno {
        case .badAddress: "\(subject): nothing is mapped there"
        case .invalidArgument: "\(subject): the mapping is private, so its data is in no file"
        default: "\(subject): \(error.call)"
        }
    }

    private func remedy(_ error: SystemCallError) -> String {
        switch error.errno {
        case .badAddress: "luoctl check pid:\(process) shows the mappings that can be preserved"
        case .invalidArgument: "map a memory file with MAP_SHARED, and preserve that"
        case .noSuchAddressOrDevice: "the kernel opens no such file, such as that of memfd_secret(2): map a memory file"
        case .notPermitted, .permissionDenied: "run as root: CAP_SYS_ADMIN opens files of mappings"
        default: "look whether it runs"
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCommandLine
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// The memory of a process that its descriptors do not show.
struct MappedMemory {
    /// Memory files that only shared mappings hold. `luoctl preserve --mapping` preserves them.
    let shared: [MappedFile]
    /// Private mappings of memory files, with written pages: the data of these pages is in no file.
    let overFiles: [MappedFile]
    /// The bytes of private memory without a file. No file can be made of it.
    let anonymous: UInt64
    /// Mapped files at which this does not look.
    let unseen: [UnseenFile]

    /// Looks at all areas of a process.
    ///
    /// - Parameters:
    ///   - process: the process.
    ///   - open: the files for which it has descriptors.
    ///   - served: the files of the process on file systems with a server.
    /// - Throws: EACCES or EPERM without the right to look at the process; ENOENT or ESRCH when it has ended.
    init(
        _ process: borrowing RunningProcess, open: Set<FileIdentity>, _ served: ServedFiles
    ) throws(SystemCallError) {
        var areas: [MappingSorting.Area] = []
        for area in try process.areas {
            areas.append(MappingSorting.Area(area: area, ownBytes: try process.ownBytes(in: area)))
        }
        let sorted = MappingSorting(areas, open: open, program: process.program)
        shared = Self.memory(sorted.shared.filter { !served.contains($0.first) }, of: process)
        overFiles = Self.memory(sorted.overFiles.filter { !served.contains($0.first) }, of: process)
        anonymous = sorted.anonymous
        // Programs and their libraries are mapped privately. If the mount of one is not known, it says nothing.
        let hidden =
            sorted.shared.filter { served.contains($0.first) }
            + sorted.overFiles.filter { served.contains($0.first) && !served.isUnknown($0.first) }
        unseen = hidden.map { group in
            UnseenFile(address: "0x" + String(group.first.range.lowerBound, radix: 16), name: group.first.path)
        }
    }

    private static func memory(
        _ groups: [MappingSorting.Group], of process: borrowing RunningProcess
    ) -> [MappedFile] {
        var files: [MappedFile] = []
        for group in groups {
            let file = MappedFile(group, link: process.link(toFileOf: group.first))
            if file.isMemory { files.append(file) }
        }
        return files
    }
}

/// A file that a process has mapped.
struct MappedFile {
    let group: MappingSorting.Group
    /// The result of the check; an error when this process may not open the file.
    let subject: Result<CheckSubject, SystemCallError>

    init(_ group: MappingSorting.Group, link: String) {
        self.group = group
        do throws(SystemCallError) {
            let file = try openToLook(link)
            subject = .success(try CheckSubject(file.borrowed, fd: nil))
        } catch {
            subject = .failure(error)
        }
    }

    var name: String { group.first.path }

    var isMemory: Bool {
        switch subject {
        case .success(let subject): subject.kind.isMemory || subject.kind == .secret
        // The kernel gives these names to files without a name of their own.
        case .failure:
            group.first.isHuge
                || ["/memfd:", "/dev/zero (deleted)", "/SYSV", "/secretmem"].contains { name.hasPrefix($0) }
        }
    }

    var isAccepted: Bool { (try? subject.get().isAccepted) ?? false }

    var address: String { "0x" + String(group.first.range.lowerBound, radix: 16) }

    /// The reason why the file cannot be preserved, with its remedy; nil for an accepted file.
    var problem: (reason: String, remedy: String?)? {
        switch subject {
        case .failure(let error):
            return switch error.errno {
            case .noSuchFileOrDirectory: ("the process has unmapped the file meanwhile", "check the process again")
            case .noSuchAddressOrDevice:
                ("the kernel opens no such file (\(error))", "map a memory file, and not one of memfd_secret(2)")
            default:
                ("the file may not be opened (\(error))", "run as root: CAP_SYS_ADMIN opens files of mappings")
            }
        case .success(let subject):
            guard case .refused(let refused) = subject.verdict else { return nil }
            return (refused.error.reason, subject.remedy)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import LiveUpdateCommandLine
import LiveUpdatePlatform
import SystemPackage

/// Checks all descriptors of a process, one after the other, and then its mappings. Each descriptor is duplicated here
/// only while it is checked.
struct ProcessCheck {
    let id: CInt

    /// The files that the check has found.
    struct Found {
        var subjects: [CheckSubject] = []
        /// Nil when the target is not a process.
        var mapped: MappedMemory?
        var unseen: [UnseenFile] = []
    }

    func run() throws -> Found {
        do throws(SystemCallError) {
            let process = try RunningProcess(id)
            let served = ServedFiles(of: id)
            var found = try look(at: process, served)
            let mapped = try MappedMemory(process, open: Set(found.subjects.map(\.status.identity)), served)
            found.mapped = mapped
            found.unseen += mapped.unseen
            // Without this, files that ended with the process would look as if they had never existed.
            if process.hasEnded { throw SystemCallError("pidfd_getfd", .noSuchProcess) }
            return found
        } catch {
            throw explain(error)
        }
    }

    private func look(
        at process: borrowing RunningProcess, _ served: ServedFiles
    ) throws(SystemCallError) -> Found {
        var subjects: [CheckSubject] = []
        var unseen: [UnseenFile] = []
        var first: [FileIdentity: Int] = [:]
        for number in try process.descriptors {
            // The close of a duplicate would wait for the file system, too.
            if served.contains(descriptor: number, of: id) {
                unseen.append(UnseenFile(fd: number, name: (try? linkTarget("/proc/\(id)/fd/\(number)")) ?? "?"))
                continue
            }
            guard let copy = try duplicate(number, of: process) else { continue }
            guard let status = try? FileStatus(of: copy.borrowed) else { continue }
            // A file is preserved once, however many descriptors it has.
            if let index = first[status.identity], subjects[index].kind.isMemory {
                subjects.append(CheckSubject(sameAs: subjects[index], fd: number))
            } else if let subject = try? CheckSubject(copy.borrowed, fd: number) {
                first[status.identity] = subjects.count
                subjects.append(subject)
            }
        }
        return Found(subjects: subjects, unseen: unseen)
    }

    /// Nil if the descriptor was closed meanwhile.
    private func duplicate(
        _ number: CInt, of process: borrowing RunningProcess
    ) throws(SystemCallError) -> OwnedDescriptor? {
        do throws(SystemCallError) {
            return try process.duplicate(number)
        } catch {
            if error.errno == .badFileDescriptor { return nil }
            throw error
        }
    }

    private func explain(_ error: SystemCallError) -> ExitCode {
        switch error.errno {
        case .noSuchProcess, .invalidArgument, .noSuchFileOrDirectory:
            Exit.unavailable(
                "there is no process \(id), or no more (\(error)); for a descriptor say fd:\(id), for a file ./\(id)")
        case .permissionDenied, .notPermitted:
            Exit.permission(
                "the descriptors and mappings of process \(id) may not be looked at (\(error)): run as root, or with CAP_SYS_PTRACE; "
                    + "its own user may where kernel.yama.ptrace_scope is 0")
        case .noFunction:
            Exit.unavailable("this kernel does not lend descriptors (\(error)): Linux 5.6 does; check /proc/\(id)/fd/N")
        default: Exit.unavailable("process \(id) cannot be looked at: \(error)")
        }
    }
}

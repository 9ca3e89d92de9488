// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import FoundationEssentials
import LiveUpdateCommandLine
import LiveUpdateCore
import LiveUpdateDevice
import LiveUpdateKernel
import LiveUpdatePlatform
import SystemPackage

/// The file `last-kernel-update` in luod's state directory. `luoctl kexec` writes it under the old kernel, and its
/// report reads it under the next one.
struct KernelUpdateFile {
    /// The state directory.
    let state: FilePath

    /// The file of a state directory; nil for `LUO_STATE` in the environment, or /run/luo.
    init(state: String?) { self.state = LiveUpdateDevice.state(state.map { FilePath($0) }) }

    private static let name = "last-kernel-update"
    /// A record with 10,000 files has 2 MiB.
    private static let longest: UInt64 = 64 << 20

    // MARK: Under the old kernel

    /// Writes the record. The state directory may belong to another user than this process, so no link is followed.
    ///
    /// - Parameters:
    ///   - record: the record.
    ///   - user: the user of luod.
    /// - Throws: ENOTDIR for a symbolic link, EPERM for a directory of a third user, and the errors of the writing.
    func write(_ record: KernelUpdateRecord, luodUser user: UInt32) throws(SystemCallError) {
        let directory = try findFile(state)
        let status = try FileStatus(of: directory.borrowed)
        guard status.isDirectory else { throw SystemCallError("open", .notDirectory) }
        guard [0, user].contains(status.owner) else { throw SystemCallError("open", .notPermitted) }
        try replaceFile(Self.path(in: directory.borrowed), with: jsonText(record) + "\n")
        // The descriptor stays open until here.
        _ = consume directory
    }

    /// Removes the record of an update that did not take place.
    func remove() {
        guard let directory = try? findFile(state) else { return }
        // The record need not exist.
        try? removeFile(FilePath(Self.path(in: directory.borrowed)))
        _ = consume directory
    }

    private static func path(in directory: FileDescriptor) -> String {
        "/proc/self/fd/\(directory.rawValue)/\(name)"
    }

    // MARK: Under the next kernel

    /// The reason why there is no report.
    enum Failure: Error {
        /// No kernel update is on record.
        case missing
        /// The file is no record that this luoctl knows.
        case damaged
        case unreadable(SystemCallError)
    }

    /// The report of the last kernel update.
    func report() throws(Failure) -> KernelUpdateReport {
        let text: String
        let running: KernelUpdateReport.Running
        do throws(SystemCallError) {
            text = try content(of: Self.name).text
            running = try self.running()
        } catch {
            throw error.errno == .noSuchFileOrDirectory ? Failure.missing : Failure.unreadable(error)
        }
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        guard let record = try? decoder.decode(KernelUpdateRecord.self, from: Data(text.utf8)),
            record.version == KernelUpdateRecord.currentVersion
        else { throw Failure.damaged }
        return KernelUpdateReport(record, under: running)
    }

    private func running() throws(SystemCallError) -> KernelUpdateReport.Running {
        let service = try? content(of: "kernel")
        return KernelUpdateReport.Running(
            release: try Self.line("osrelease"), bootId: try Self.bootID(), began: kernelStartNanoseconds(),
            service: service.map { KernelUpdateReport.Service($0.text, modified: $0.modified) })
    }

    /// The boot ID of the kernel that runs.
    ///
    /// - Throws: ENOENT without /proc.
    static func bootID() throws(SystemCallError) -> String { try line("random/boot_id") }

    private static func line(_ name: String) throws(SystemCallError) -> String {
        String(try readWhole("/proc/sys/kernel/\(name)").prefix { $0 != "\n" })
    }

    /// Reads a file of the state directory. Its owner may be another user, so only a regular file is opened.
    private func content(of name: String) throws(SystemCallError) -> (text: String, modified: Int64?) {
        let file = try findFile(state.appending(name))
        let status = try FileStatus(of: file.borrowed)
        guard status.isRegular else { throw SystemCallError("open", .invalidArgument) }
        guard status.size <= Self.longest else { throw SystemCallError("open", .fileTooLarge) }
        let text = try readWhole("/proc/self/fd/\(file.borrowed.rawValue)")
        // The descriptor stays open until here.
        _ = consume file
        return (text, status.modified)
    }

    /// Exit code 69 without a record, 77 without the right to read it, 64 for a file that is no record. Prints the
    /// message.
    func exit(_ failure: Failure) -> ExitCode {
        let path = state.appending(Self.name).string.shown
        switch failure {
        case .missing:
            return Exit.unavailable(
                "no kernel update is on record in \(state.string.shown): luoctl kexec leaves a record there, which "
                    + "needs a state on DAX or on a disk")
        case .damaged: return Exit.usage("\(path) is no record of a kernel update of this version: remove it")
        case .unreadable(let error):
            let isRight = [.permissionDenied, .notPermitted].contains(error.errno)
            return isRight
                ? Exit.permission("\(path): \(error); only root may read it") : Exit.unavailable("\(path): \(error)")
        }
    }
}

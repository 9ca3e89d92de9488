// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdateMachine
import LiveUpdatePlatform
import Logging
import SystemPackage

/// A holder (``HolderProcess``), in the keeper that starts it or finds it.
///
/// The file `holder` of the state names the holder's process, by the boot ID of the kernel, the number of the process,
/// and the time at which the process was started.
final class KernelHolder {
    /// The name of a process. No other process of this kernel or of another one has the same name.
    struct Name: Equatable, Sendable {
        var boot: String
        var process: CInt
        var startTime: UInt64

        /// The content of the file.
        var text: String { "\(boot) \(process) \(startTime)\n" }

        init(boot: String, process: CInt, startTime: UInt64) {
            (self.boot, self.process, self.startTime) = (boot, process, startTime)
        }

        /// Reads the content of the file; nil for another content.
        init?(_ text: String) {
            let words = text.split(whereSeparator: \.isWhitespace)
            guard words.count == 3, let process = CInt(words[1]), process > 0, let time = UInt64(words[2]) else {
                return nil
            }
            self.init(boot: String(words[0]), process: process, startTime: time)
        }
    }

    private let process: RunningProcess
    private let path: String
    /// The session that the previous kernel has handed over. It is finished when the holder is ended.
    private var arrival: KernelSession?
    private var isEnded = false

    private init(_ process: consuming RunningProcess, _ path: String) {
        self.process = process
        self.path = path
    }

    /// The number of the holder's process.
    var id: CInt { process.id }

    // MARK: Starting

    /// Starts a holder, gives it descriptors, and names it in the file.
    ///
    /// - Parameters:
    ///   - path: the path of the file.
    ///   - image: the program of luod.
    ///   - settings: the settings of luod.
    ///   - held: the descriptors. Those that would keep a file system busy are left out.
    ///   - session: the session of the kernel's orchestrator; nil when it carries nothing.
    ///   - isIncoming: whether the session comes from the previous kernel.
    /// - Returns: the holder.
    /// - Throws: the errors of starting a process and of writing the file; EPIPE when the holder ends at once. Then no
    ///   holder is left.
    static func start(
        _ path: String, image: String, _ settings: Settings,
        holding held: [(held: HeldSlot, descriptor: FileDescriptor)], session: FileDescriptor?, isIncoming: Bool
    ) throws -> KernelHolder {
        let linked = try LinkedProcess(starting: image, .holder, settings)
        do {
            try linked.link.send(holding: held.filter(mayHold))
            try linked.link.send(.holdUntilEnd(isIncoming: isIncoming), session.map { [$0] } ?? [])
            try waitUntilReady(linked)
            guard let seen = SeenProcess(linked.process.id) else { throw SystemCallError("open", .noSuchProcess) }
            let name = Name(boot: Self.bootID(), process: seen.id, startTime: seen.startTime)
            try replaceFile(path, with: name.text)
            return KernelHolder(try RunningProcess(seen.id), path)
        } catch {
            linked.process.kill()
            throw error
        }
    }

    /// Whether a holder holds a descriptor: it is a client's file, but none that would keep a file system busy.
    static func mayHold(_ entry: (held: HeldSlot, descriptor: FileDescriptor)) -> Bool {
        entry.held.kind == .file && entry.descriptor.mayBeHeldToTheEnd
    }

    /// The time for a holder to start and to receive all descriptors, in milliseconds.
    private static let patience: UInt64 = 10_000

    private static func waitUntilReady(_ linked: LinkedProcess) throws(SystemCallError) {
        let deadline = milliseconds() + patience
        while milliseconds() < deadline {
            guard linked.link.descriptor.isReadable(within: CInt(clamping: deadline - milliseconds())) else { break }
            guard let received = try linked.link.receive(.now) else { throw SystemCallError("recvmsg", .brokenPipe) }
            if received.message == .update(.ready) { return }
        }
        throw SystemCallError("recvmsg", .timedOut)
    }

    // MARK: Finding

    /// Finds the holder that the luod before has left.
    ///
    /// - Parameters:
    ///   - path: the path of the file, which is removed when its holder has ended.
    ///   - log: says that the files are lost, if the holder was ended under this kernel.
    /// - Returns: nil when there is none.
    /// - Throws: StartFailure when the file or the process cannot be looked at. luod must not start then as if the
    ///   holder had no files.
    static func find(_ path: String, _ log: Log) throws(StartFailure) -> KernelHolder? {
        guard let name = try name(in: path) else { return nil }
        if name.boot == bootID() {
            if let process = try running(name) { return KernelHolder(process, path) }
            log.say(
                "process \(name.process), which held the memory files until the kernel ends, was ended: the files are "
                    + "lost")
        }
        try? removeFile(FilePath(path))
        return nil
    }

    private static func name(in path: String) throws(StartFailure) -> Name? {
        do throws(SystemCallError) {
            return Name(try readBeginning(path))
        } catch {
            if error.errno == .noSuchFileOrDirectory { return nil }
            throw StartFailure(
                .unavailable,
                "\(path) cannot be read: \(error); it names the process that may hold memory files: start luod as its user"
            )
        }
    }

    /// The process of a name; nil when it has ended.
    private static func running(_ name: Name) throws(StartFailure) -> RunningProcess? {
        do throws(SystemCallError) {
            // The number may belong to another process now. The descriptor of the process does not change any more.
            let process = try RunningProcess(name.process)
            guard let seen = SeenProcess(name.process) else {
                if process.hasEnded { return nil }
                throw SystemCallError("open", .permissionDenied)
            }
            if seen.startTime != name.startTime || process.hasEnded { return nil }
            return process
        } catch {
            // The last two: the number belongs to a thread.
            if [.noSuchProcess, .invalidArgument, .noSuchFileOrDirectory].contains(error.errno) { return nil }
            throw StartFailure(
                .unavailable,
                "process \(name.process), which may hold memory files, cannot be looked at: \(error); mount /proc, or raise "
                    + "the limit of open files, and start luod again")
        }
    }

    /// The boot ID of the kernel; empty if it cannot be read.
    static func bootID() -> String {
        ((try? readWhole("/proc/sys/kernel/random/boot_id")) ?? "").filter { !$0.isWhitespace }
    }

    // MARK: Taking back

    /// Takes all descriptors from the holder: pidfd_getfd(2). The holder keeps its own.
    ///
    /// - Returns: the session that the previous kernel has handed over; nil without one.
    /// - Throws: EPERM without the right that ptrace(2) asks for; ESRCH when the holder has ended; EMFILE; `record` for
    ///   a list of another version.
    func take(into vault: DescriptorVault) throws -> KernelSession? {
        let file = try process.duplicate(HolderList.number)
        let list = try HolderList(try file.borrowed.bytes(at: 0, count: Int(try FileStatus(of: file.borrowed).size)))
        if let session = list.session, session.isIncoming {
            return KernelSession(try process.duplicate(session.number))
        }
        for entry in list.entries { vault.keep(entry.held, try process.duplicate(entry.number).release()) }
        // The journal may name slots that the holder does not have.
        vault.skipSlots()
        return nil
    }

    /// Makes ``end()`` finish a session, too, which the holder has.
    func finishAtEnd(_ session: KernelSession) { arrival = session }

    /// Ends the holder, and removes the file that names it, because this luod has all of its descriptors.
    func end() {
        guard !isEnded else { return }
        isEnded = true
        if let arrival {
            do throws(SystemCallError) {
                try arrival.finish()
            } catch {
                Log("luod-keeper").say("the session of the previous kernel cannot be finished: \(error)", .warning)
            }
        }
        arrival = nil
        process.kill()
        process.waitForEnd(Self.patienceWithEnd)
        var children = UnreapedChildren()
        _ = children.reap(process.id)
        try? removeFile(FilePath(path))
    }

    /// The longest wait for the end of a killed holder, in milliseconds.
    private static let patienceWithEnd: CInt = 1000
}

extension FileDescriptor {
    /// Whether a holder may have the descriptor: it is no file on a disk, and its close asks no server.
    fileprivate var mayBeHeldToTheEnd: Bool {
        guard let status = try? FileStatus(cached: self) else { return false }
        guard status.isRegular || status.isDirectory else { return (try? mayAskServer()) == false }
        switch try? FileSystemKind(of: self) {
        case .tmpfs, .hugetlbfs: return true
        case .other, nil: return false
        }
    }
}

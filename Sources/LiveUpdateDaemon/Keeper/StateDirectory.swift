// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdateMachine
import LiveUpdatePlatform
import Logging
import SystemPackage

/// The directory of a state: `arena` (``ArenaFile``), the socket `liveupdate` for clients, the socket `root` for root
/// and luod's own user, the socket `control` for a keeper that replaces a dead one, `calls` (``CallMemory``), `kernel`
/// (``KernelRecord``), and `holder` (``KernelHolder``). `luoctl kexec` leaves `last-kernel-update`, which luod does not
/// read. A lock on the arena decides which luod runs the state.
package struct StateDirectory: Sendable {
    /// The path of the directory.
    package let path: String

    /// The state directory at a path.
    package init(_ path: String) { self.path = path }

    /// The clients' socket.
    package var clientSocket: String { path + "/liveupdate" }
    /// The socket for root and luod's own user. Other users cannot prevent its service.
    var rootSocket: String { path + "/root" }
    var controlSocket: String { path + "/control" }
    var arena: String { path + "/arena" }
    var kernel: String { path + "/kernel" }
    /// The file that names the process that holds memory files until the kernel ends: ``KernelHolder``.
    var holder: String { path + "/holder" }
    /// The file that names the arena from which the arena of this directory was copied.
    private var moved: String { path + "/moved" }
    /// The record that `luoctl kexec` leaves for its report.
    private var lastKernelUpdate: String { path + "/last-kernel-update" }
    var calls: CallMemory { CallMemory(path: path + "/calls") }
    /// The process that answers the calls of programs under `luoctl run`, if there is one.
    var gate: CInt? { calls.gate }

    /// Makes this process the keeper of the state.
    ///
    /// - Parameters:
    ///   - passed: the descriptors from a service manager: the clients' socket, and stored descriptors.
    ///   - settings: the settings for a clients' socket that this makes.
    /// - Returns: the state, with its held descriptors.
    /// - Throws: ``StateHeld`` when another process is the keeper; a LiveUpdateError with EPERM for a directory that
    ///   others may write to; ``StartFailure`` for an unusable path or file of the state, and for a passed socket that
    ///   does not listen; ArenaError about the arena; the errors of system calls.
    func take(_ passed: [PassedDescriptor], _ settings: Settings) throws -> TakenState {
        try checkLength()
        try makeDirectory()
        let activated = passed.filter { HeldSlot(storedName: $0.name) == nil }
        // With a passed socket, the name of the clients' socket belongs to the service manager.
        for socket in [controlSocket, rootSocket] + (activated.isEmpty ? [clientSocket] : []) {
            try Self.expect(socket, "a socket") { $0.type == .socket }
        }
        for file in [arena, calls.path] + [kernel, holder, moved].flatMap({ [$0, $0 + ".new"] }) {
            try Self.expectOwnFile(file)
        }
        if var found = try adopt() ?? adoptWithoutName(settings) {
            found.unwanted = passed
            // The orchestrator already serves all files that a holder may have.
            try KernelHolder.find(holder, log)?.end()
            return found
        }
        try Self.expectListeners(activated)
        let table = DescriptorVault()
        var unwanted: [PassedDescriptor] = []
        let stored = try restore(passed, into: table, &unwanted)
        var found = try KernelHolder.find(holder, log)
        var cameWithKernel = false
        // A luod for one program has a new state each time.
        if stored.isEmpty, !settings.endsUnused {
            let arrival = KernelArrival(state: self, settings: settings)
            cameWithKernel = try arrival.receive(&found, into: table)
        }
        if stored.isEmpty {
            if table.descriptor(.arena) == nil { table.add(try ArenaFile(path: arena).open(), .arena) }
            calls.forget()
        }
        // The process that bound this socket is dead, because this process has the arena's lock.
        _ = unsafe unlink(controlSocket)
        table.add(try makeSocket(.control, settings), .control)
        _ = unsafe unlink(rootSocket)
        table.add(try makeSocket(.rootListener, settings), .rootListener)
        try addListener(passed, stored, settings, to: table)
        table.add(try ControlMemory.make(), .memory)
        let stale = passed.compactMap { HeldSlot(storedName: $0.name) }.filter { !stored.contains($0) }
        return TakenState(
            table: table, running: nil, stored: stored, stale: stale, unwanted: unwanted,
            cameWithKernel: cameWithKernel, holder: found)
    }

    private var log: Log { Log("luod-keeper") }

    /// Makes the directory. All users can look up the socket in it. An existing directory is not changed, because a
    /// user may have named it by mistake.
    private func makeDirectory() throws {
        if unsafe mkdir(path, 0o711) == 0 {
            // This sets the mode regardless of the umask.
            _ = unsafe chmod(path, 0o711)
            return
        }
        guard errno == EEXIST else { throw Self.failure(Errno(rawValue: errno), making: path) }
        let found = try FileStatus(at: path)
        guard found.isDirectory else {
            throw StartFailure(
                .data, "\(path): Not a directory: name a directory for the state, which need not be there")
        }
        guard found.isOursAlone else {
            throw LiveUpdateError(
                .notPermitted, "\(path): another user owns it, or other users may write to it",
                remedy:
                    "if it is luod's directory, make it so (chown, chmod go-w); otherwise name a directory for the state "
                    + "alone, which need not be there")
        }
    }

    /// Checks that the path of each socket fits into an address.
    private func checkLength() throws {
        let most = MessageSocket.longestPath - (clientSocket.utf8.count - path.utf8.count)
        guard path.utf8.count > most else { return }
        throw StartFailure(
            .usage,
            "\(path) has \(path.utf8.count) bytes, and the path of a state has at most \(most): name a shorter one")
    }

    private static func failure(_ errno: Errno, making path: String) -> any Error {
        switch errno {
        case .noSuchFileOrDirectory:
            StartFailure(
                .unavailable, "\(path): No such file or directory: make the directory that the state is to be in")
        case .notDirectory, .tooManySymbolicLinkLevels:
            StartFailure(
                .data, "\(path): \(errno): the state is to be in something that is no directory: name another path")
        default: SystemCallError("mkdir", errno)
        }
    }

    /// Checks a file of the state before it is opened or removed, because opening a device or a pipe can have effects.
    ///
    /// - Throws: ``StartFailure`` when the name belongs to another kind of file.
    static func expect(_ path: String, _ kind: String, _ isThat: (FileStatus) -> Bool) throws {
        guard let found = try? FileStatus(at: path, followingLinks: false), !isThat(found) else { return }
        throw StartFailure(.data, "\(path) is not \(kind): remove it, or name another state directory")
    }

    /// Looks at a file that luod opens and writes: another user must not be able to write to it.
    ///
    /// - Throws: as ``expect(_:_:_:)``.
    static func expectOwnFile(_ path: String) throws {
        try expect(path, "a regular file") { $0.isRegular }
        try expect(path, "luod's own file, or other users may write to it") { $0.isOursAlone }
    }

    /// - Throws: ``StartFailure`` for a descriptor from a service manager on which no client can connect.
    private static func expectListeners(_ passed: [PassedDescriptor]) throws {
        for one in passed where !(one.descriptor.isMessageSocket && one.descriptor.isListening) {
            throw StartFailure(
                .unavailable,
                "the descriptor \"\(one.name)\" that was passed (LISTEN_FDS) is not a socket of type SOCK_SEQPACKET that "
                    + "listens: pass one (ListenSequentialPacket= of a socket unit), or none")
        }
    }

    /// Restores the stored descriptors, if they include the arena of this state.
    ///
    /// - Returns: the restored descriptors. Empty without the arena of this state.
    private func restore(
        _ passed: [PassedDescriptor], into table: DescriptorVault, _ unwanted: inout [PassedDescriptor]
    ) throws -> [HeldSlot] {
        let stored = passed.compactMap { one in HeldSlot(storedName: one.name).map { ($0, one.descriptor) } }
        guard let arena = stored.first(where: { $0.0.kind == .arena })?.1, try belongsHere(arena) else {
            unwanted = passed.filter { HeldSlot(storedName: $0.name) != nil }
            return []
        }
        let own = try movedArena(from: arena)
        for (held, descriptor) in stored { table.keep(held, held.kind == .arena ? own ?? descriptor : descriptor) }
        // The journal may name slots that are no longer stored.
        table.skipSlots()
        guard own != nil else { return stored.map(\.0) }
        unwanted = passed.filter { HeldSlot(storedName: $0.name)?.kind == .arena }
        return stored.map(\.0).filter { $0.kind != .arena }
    }

    /// Whether a stored arena is that of this state, and locks it. It may be the arena of a state that was removed and
    /// replaced by another.
    ///
    /// - Throws: ``StateHeld`` when another process has the arena.
    private func belongsHere(_ stored: FileDescriptor) throws -> Bool {
        let identity = try FileStatus(of: stored).identity
        if let there = try? FileStatus(at: arena, followingLinks: false).identity, there != identity {
            // A luod that has moved the state was killed before the service manager had the arena of this directory.
            return (try? readBeginning(moved)) == Self.text(of: identity)
        }
        do {
            // The lock belongs to the open file description, so it was never released.
            try stored.lockForWriting()
        } catch {
            throw StateHeld(why: "\(arena) is in use by another process")
        }
        return true
    }

    /// The arena of this directory, if the stored arena is another file: `--state` names another directory than before,
    /// or the directory was removed. If the directory has no arena, it gets a copy. Then a luod that starts without the
    /// store finds the sessions, too.
    ///
    /// 1. The file `moved` gets the identity of the stored arena.
    /// 2. The copy gets its name. A luod that is killed from then on begins again here, with the file `moved`.
    /// 3. The stored arena loses its name, so that no luod starts from it later.
    ///
    /// - Returns: nil when the stored arena is that of this directory, or when it cannot be copied.
    /// - Throws: ``StateHeld`` when another luod makes an arena there; the errors of ``ArenaFile/open()`` for an arena
    ///   that is there.
    private func movedArena(from stored: FileDescriptor) throws -> FileDescriptor? {
        let status = try FileStatus(of: stored)
        if let there = try? FileStatus(at: arena, followingLinks: false).identity {
            guard there == status.identity else { return try ArenaFile(path: arena).open().release() }
            // The service manager has the arena of this directory.
            _ = unsafe unlink(moved)
            return nil
        }
        let before = (try? stored.path().string) ?? "a directory that was removed"
        do {
            try replaceFile(moved, with: Self.text(of: status.identity))
            guard let own = try ArenaFile(path: arena, source: stored).make() else {
                throw StateHeld(why: "\(arena) was made by another luod just now")
            }
            log.say("the state moves here from \(before): its sessions and files are in \(path) now")
            if (try? FileStatus(at: before, followingLinks: false).identity) == status.identity {
                _ = unsafe unlink(before)
            }
            return own.release()
        } catch let error as StateHeld {
            throw error
        } catch {
            log.say("the state stays in \(before), because its arena cannot be written to \(path): \(error)")
            return nil
        }
    }

    /// The identity of an arena, for the file `moved`. Device numbers are those of one kernel.
    private static func text(of identity: FileIdentity) -> String {
        "\(KernelHolder.bootID()) \(identity.device) \(identity.inode)"
    }

    /// Adds the clients' listener: the socket of the unit, which is not changed; or the stored socket, if the state did
    /// not move and the socket's path still exists; or a new one.
    private func addListener(
        _ passed: [PassedDescriptor], _ stored: [HeldSlot], _ settings: Settings, to table: DescriptorVault
    ) throws {
        let activated = passed.filter { HeldSlot(storedName: $0.name) == nil }
        let listeners = stored.filter { $0.kind == .listener }.map(\.slot)
        if let listener = activated.first {
            table.release(listeners)
            let label = DescriptorLabel(traits: .wasPassed)
            table.add(try OwnedDescriptor(taking: listener.descriptor).nonBlocking(), .listener, label)
            for one in activated.dropFirst() { table.close(one.descriptor, of: 0) }
        } else if unsafe listeners.isEmpty || !stored.contains(where: { $0.kind == .arena })
            || access(clientSocket, F_OK) != 0
        {
            table.release(listeners)
            _ = unsafe unlink(clientSocket)
            table.add(try makeSocket(.listener, settings), .listener)
        }
    }

    /// Makes a socket that listens.
    ///
    /// - Throws: EADDRINUSE when its name is there; ENOENT without the directory; EPERM without the right to give the
    ///   clients' socket to its group.
    func makeSocket(_ kind: DescriptorKind, _ settings: Settings) throws(SystemCallError) -> OwnedDescriptor {
        switch kind {
        case .control: try MessageSocket.listen(at: controlSocket, mode: [.ownerReadWrite]).nonBlocking()
        case .rootListener: try MessageSocket.listen(at: rootSocket, mode: [.ownerReadWrite]).nonBlocking()
        default:
            try MessageSocket.listen(
                at: clientSocket, mode: settings.socketMode, group: settings.socketGroup
            ).nonBlocking()
        }
    }

    /// Removes the files of a state that ends.
    func remove() {
        let files = [
            arena, controlSocket, rootSocket, clientSocket, calls.path, kernel, holder, moved, lastKernelUpdate,
            lastKernelUpdate + ".new",
        ]
        for file in files { _ = unsafe unlink(file) }
        _ = unsafe rmdir(path)
    }

    /// The time for a killed process to end, in milliseconds. A thread that waits for a dead file system does not end
    /// (the memory of a program may be on such a file system), but it does nothing more either.
    static let patience: CInt = 2000

    /// Replaces a dead keeper, if its orchestrator still runs.
    private func adopt() throws -> TakenState? {
        var held: StateHeld?
        // The orchestrator may not have noticed yet that its keeper was killed. It does within the time that a process
        // takes to end.
        let end = milliseconds() + 1000
        for _ in 0..<100 {
            guard let connected = try? MessageSocket.connect(to: controlSocket) else { return nil }
            do {
                if let taken = try adopt(by: ControlLink(connected)) { return taken }
            } catch let error as StateHeld {
                held = error
            }
            if milliseconds() >= end { break }
            usleep(20_000)
        }
        throw held ?? StateHeld(why: "the luod that runs on \(path) does not answer: wait, or end its processes")
    }

    /// Waits for a luod that listens at the path of this control socket, although the socket has no name: another
    /// program has removed the directory. Now that the directory is there, that luod makes its sockets again within a
    /// second. A luod in another mount namespace can have the same path, so after the wait this process goes on.
    ///
    /// - Throws: ``StateHeld`` when that luod has a keeper.
    private func adoptWithoutName(_ settings: Settings) throws -> TakenState? {
        guard !settings.endsUnused, unsafe access(arena, F_OK) != 0, isBoundElsewhere else { return nil }
        let end = milliseconds() + 2500
        while milliseconds() < end {
            if unsafe access(controlSocket, F_OK) == 0 { return try adopt() }
            usleep(50_000)
        }
        log.say(
            "another luod listens at \(controlSocket), in another mount namespace or without a name: this luod begins "
                + "a state of its own; docs/runbook.md says how to rescue the files of a luod without a name", .warning)
        return nil
    }

    /// Whether a process listens at the path of this control socket: /proc/net/unix of proc(5). Flag 10000 marks a
    /// socket that listens.
    private var isBoundElsewhere: Bool {
        // Without /proc nothing is known, and luod starts as before.
        guard let sockets = try? readWhole("/proc/net/unix") else { return false }
        return sockets.split(separator: "\n").contains {
            $0.contains(" 00010000 ") && $0.hasSuffix(" \(controlSocket)")
        }
    }

    /// - Returns: nil when the orchestrator did not read this process's messages: it waits only a moment, and this
    ///   process may have been slower.
    private func adopt(by link: ControlLink) throws -> TakenState? {
        do throws(SystemCallError) {
            try link.send(.hello(.own))
            try link.send(.adopt)
        } catch {
            guard error.errno == .brokenPipe || error.isShortage else { throw error }
            return nil
        }
        let table = DescriptorVault()
        while link.descriptor.isReadable(within: 10_000) {
            guard let received = try link.receive(.now) else { return nil }
            guard !received.isCut else { throw SystemCallError("recvmsg", .tooManyOpenFiles) }
            switch received.message {
            case .hello(let version) where !version.isOwn:
                throw StateHeld(why: version.mismatch(ofOrchestratorOn: path))
            case .hold(let slots):
                for (held, descriptor) in zip(slots, received.descriptors) { table.keep(held, descriptor) }
            case .adopted(let process, let next):
                guard let handle = received.descriptors.first else { break }
                table.startNumbering(at: next)
                let running = RunningProcess(process, handle: OwnedDescriptor(taking: handle))
                return TakenState(table: table, running: LinkedProcess(found: link, running))
            case .update(.failed(let why, _)): throw StateHeld(why: why)
            default: break
            }
        }
        throw StateHeld(why: "the luod that runs on \(path) does not answer: wait, or end its processes")
    }
}

/// A state that this process now runs.
struct TakenState {
    /// The held descriptors.
    let table: DescriptorVault
    /// The orchestrator that was found.
    var running: LinkedProcess?
    /// The descriptors that come from a service manager's store. With any of them, the boot continues.
    var stored: [HeldSlot] = []
    /// Descriptors that a service manager stores and that are useless.
    var stale: [HeldSlot] = []
    /// Useless descriptors that were passed. The keeper closes them.
    var unwanted: [PassedDescriptor] = []
    /// Whether the previous kernel has handed over files, so that this is another kernel.
    var cameWithKernel = false
    /// The process that has held memory files meanwhile. It is ended once they are served.
    var holder: KernelHolder?
    /// The state from the keeper's earlier program, if this process has run one.
    var replaced: KeeperState?
}

/// Another process runs the state.
package struct StateHeld: Error, Sendable, CustomStringConvertible {
    let why: String
    package var description: String { why }
}

extension OwnedDescriptor {
    fileprivate consuming func nonBlocking() throws(SystemCallError) -> OwnedDescriptor {
        try borrowed.setNonBlocking()
        return self
    }
}

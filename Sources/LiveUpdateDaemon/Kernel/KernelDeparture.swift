// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandlers
import LiveUpdatePlatform
import SystemPackage

/// The carrier of memory files to the next kernel, in the old boot: a session of the kernel's orchestrator.
///
/// 1. ``init(_:_:state:)`` preserves all memory files. The kernel fills their holes, so this can take long.
/// 2. luod publishes.
/// 3. ``complete()`` preserves the arena and the list of the descriptors (``KernelCargo``). While this object lives,
///    the kernel holds everything, and a kexec hands it over.
///
/// If the object ends before the kernel does, the kernel unpreserves everything.
final class KernelDeparture {
    /// The kinds of files that this carrier takes.
    static let kinds: Set<String> = [MemfdHandler.format]

    private let session: KernelSession
    private let store: DescriptorMirror
    private var files: [(slot: DescriptorSlot, token: UInt64)] = []
    /// The memory files with the list and the arena.
    private var own: [OwnedFile] = []

    private final class OwnedFile {
        let descriptor: OwnedDescriptor
        init(_ descriptor: consuming OwnedDescriptor) { self.descriptor = descriptor }
    }

    /// Preserves the memory files of all outgoing sessions.
    ///
    /// - Throws: ENOMEM when the machine has no memory for their holes; EBUSY when another process has /dev/liveupdate
    ///   open; EEXIST when the state has a session of the kernel already; the kernel's error for a file, with its user,
    ///   session and token; as ``Orchestrator/status()``.
    init(_ orchestrator: Orchestrator, _ store: DescriptorMirror, state: String) throws(LiveUpdateError) {
        self.store = store
        let files = Self.files(of: try orchestrator.status(), store)
        try Self.checkMemory(files)
        do throws(SystemCallError) {
            session = try KernelSession.create(KernelCargo.sessionName(ofState: state))
        } catch {
            throw LiveUpdateError(
                error.errno, "no session of /dev/liveupdate can be made for the memory files: \(error.call) failed",
                remedy: Self.remedy(withoutSession: error.errno))
        }
        var tokens: [FileIdentity: UInt64] = [:]
        for file in files {
            if tokens[file.identity] == nil {
                try preserve(file, as: UInt64(file.slot.number))
                tokens[file.identity] = UInt64(file.slot.number)
            }
            self.files.append((file.slot, tokens[file.identity] ?? 0))
        }
    }

    private static func remedy(withoutSession errno: Errno) -> String {
        switch errno {
        case .resourceBusy: "end the process that has /dev/liveupdate open"
        case .fileExists: "end the process that holds the session of this state"
        case .noMemory: "release memory"
        default: "start the kernel with kho=on liveupdate=on"
        }
    }

    private struct File {
        let session: Status.Session
        let token: UInt64
        let slot: DescriptorSlot
        let descriptor: FileDescriptor
        let identity: FileIdentity
        let holes: UInt64
    }

    private static func files(of status: Status, _ store: DescriptorMirror) -> [File] {
        status.sessions.filter { $0.direction == .outgoing }.flatMap { session in
            session.files.filter { kinds.contains($0.compatible) }.compactMap { file in
                guard let descriptor = store.descriptor(in: file.slot),
                    let found = try? FileStatus(cached: descriptor)
                else { return nil }
                return File(
                    session: session, token: file.token, slot: file.slot, descriptor: descriptor,
                    identity: found.identity, holes: found.size - min(found.size, found.allocated))
            }
        }
    }

    private static func checkMemory(_ files: [File]) throws(LiveUpdateError) {
        var seen: Set<FileIdentity> = []
        let holes = files.filter { seen.insert($0.identity).inserted }.reduce(UInt64(0)) { $0 &+ $1.holes }
        guard let available = try? availableMemory(), holes > available else { return }
        throw LiveUpdateError(
            .noMemory,
            "the kernel would fill the holes of memory files with \(holes) bytes, and \(available) are available",
            remedy: "release memory, or put files with holes on DAX (luoctl dax plan)")
    }

    private func preserve(_ file: File, as token: UInt64) throws(LiveUpdateError) {
        do throws(SystemCallError) {
            try session.preserve(file.descriptor, token: token)
        } catch {
            throw LiveUpdateError(
                error.errno,
                "the kernel cannot preserve the memory file of user \(file.session.holder.user), session "
                    + "\"\(file.session.name)\", token \(file.token)",
                remedy: "unpreserve it, or put its memory on DAX (luoctl dax plan)")
        }
    }

    /// Preserves the published arena and the list of the descriptors.
    ///
    /// - Throws: EBADF when a descriptor is not held any more, ENOMEM, and the other errors of the kernel. The caller
    ///   thaws then.
    func complete() throws(LiveUpdateError) {
        do throws(SystemCallError) {
            let items = try files.map { (slot, token) throws(SystemCallError) in try item(slot, token) }
            try preserve(KernelCargo(items).bytes, KernelCargo.token, "list")
            guard let arena = store.descriptor(.arena) else { throw SystemCallError("pread", .badFileDescriptor) }
            let size = try FileStatus(of: arena).size
            try preserve(try arena.bytes(at: 0, count: Int(size)), KernelCargo.arenaToken, "arena")
        } catch {
            throw LiveUpdateError(error, "preserving luod's own state in the kernel")
        }
    }

    private func item(_ slot: DescriptorSlot, _ token: UInt64) throws(SystemCallError) -> KernelCargo.Item {
        guard let entry = store.entry(slot) else { throw SystemCallError("fcntl", .badFileDescriptor) }
        return KernelCargo.Item(
            slot: slot, token: token, position: UInt64(try entry.descriptor.position()),
            mode: try entry.descriptor.openMode(), seals: try entry.descriptor.seals(), user: entry.label.user)
    }

    private func preserve(_ bytes: [UInt8], _ token: UInt64, _ name: String) throws(SystemCallError) {
        let file = try makeMemoryFile(named: "luod-\(name)", size: 0)
        try file.borrowed.writeWhole(bytes)
        try session.preserve(file.borrowed, token: token)
        own.append(OwnedFile(file))
    }
}

// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
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
    private let session: KernelSession
    private let store: DescriptorMirror
    private var files: [(slot: DescriptorSlot, token: UInt64)] = []
    /// The reasons for which files were left out.
    private(set) var left: [String] = []
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
    init(
        _ orchestrator: Orchestrator, _ store: DescriptorMirror, state: String, leavingOut: Bool
    ) throws(LiveUpdateError) {
        self.store = store
        let files = try Self.files(of: orchestrator, store)
        var budget = try KernelMemoryBudget()
        // The arena is copied in this process, and then into its memory file.
        let arena = store.descriptor(.arena).flatMap { try? FileStatus(of: $0).size } ?? 0
        guard budget.take(size: arena &* 2, allocated: 0) else {
            throw LiveUpdateError(
                .noMemory, "the kernel has no memory for luod's arena of \(arena) bytes", remedy: "release memory")
        }
        do throws(SystemCallError) {
            session = try KernelSession.create(KernelCargo.sessionName(ofState: canonicalPath(state)))
        } catch {
            throw LiveUpdateError(
                error.errno, "no session of /dev/liveupdate can be made for the memory files: \(error.call) failed",
                remedy: Self.remedy(withoutSession: error.errno))
        }
        // Nil for a file that is left out.
        var tokens: [FileIdentity: UInt64?] = [:]
        for file in files {
            if tokens[file.identity] == nil {
                tokens[file.identity] = .some(try token(of: file, &budget, leavingOut: leavingOut))
            }
            if let token = tokens[file.identity] ?? nil { self.files.append((file.slot, token)) }
        }
    }

    /// Preserves a file.
    ///
    /// - Returns: its token; nil when the file is left out.
    private func token(
        of file: File, _ budget: inout KernelMemoryBudget, leavingOut: Bool
    ) throws(LiveUpdateError) -> UInt64? {
        do throws(LiveUpdateError) {
            guard budget.take(size: file.size, allocated: file.allocated) else {
                throw LiveUpdateError(
                    .noMemory,
                    "\(file.subject): the kernel would need more memory for the file than it has: it fills holes, and "
                        + "moves pages out of its own reserve",
                    remedy: "release memory, or put the file on DAX (luoctl dax plan)")
            }
            try checkSeals(file)
            try preserve(file, as: UInt64(file.slot.number))
            return UInt64(file.slot.number)
        } catch {
            guard leavingOut else { throw error }
            left.append("\(error)")
            return nil
        }
    }

    /// Checks that the file can be written to under the next kernel, as now. Linux 7.3.4 gives a retrieved file all
    /// rights, and a file with F_SEAL_EXEC that can be executed is sealed against writing.
    private func checkSeals(_ file: File) throws(LiveUpdateError) {
        guard let seals = try? file.descriptor.seals(), seals.contains(.exec), !seals.contains(.write) else { return }
        throw LiveUpdateError(
            .notSupported,
            "\(file.subject): the kernel would seal the file against writing, because it has F_SEAL_EXEC (MFD_NOEXEC_SEAL)",
            remedy: "make the file without MFD_NOEXEC_SEAL (vm.memfd_noexec=0), or put it on DAX (luoctl dax plan)")
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
        let size: UInt64
        let allocated: UInt64

        var subject: String { "user \(session.holder.user), session \"\(session.name)\", token \(token)" }
    }

    /// The files that only this carrier takes to the next kernel.
    private static func files(
        of orchestrator: Orchestrator, _ store: DescriptorMirror
    ) throws(LiveUpdateError) -> [File] {
        try orchestrator.status().sessions.filter { $0.direction == .outgoing }.flatMap { session in
            session.files.filter { orchestrator.kernelFate(of: $0.compatible) == .needsLiveUpdate }.compactMap { file in
                guard let descriptor = store.descriptor(in: file.slot),
                    let found = try? FileStatus(cached: descriptor)
                else { return nil }
                return File(
                    session: session, token: file.token, slot: file.slot, descriptor: descriptor,
                    identity: found.identity, size: found.size, allocated: found.allocated)
            }
        }
    }

    private func preserve(_ file: File, as token: UInt64) throws(LiveUpdateError) {
        do throws(SystemCallError) {
            try session.preserve(file.descriptor, token: token)
        } catch {
            throw LiveUpdateError(
                error.errno,
                "\(file.subject): the kernel cannot preserve the memory file",
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
        let status = try FileStatus(of: entry.descriptor)
        return KernelCargo.Item(
            slot: slot, token: token, position: UInt64(try entry.descriptor.position()),
            mode: try entry.descriptor.openMode(), seals: try entry.descriptor.seals(), user: entry.label.user,
            permissions: status.permissions, owner: status.owner, group: status.group)
    }

    private func preserve(_ bytes: [UInt8], _ token: UInt64, _ name: String) throws(SystemCallError) {
        let file = try makeMemoryFile(named: "luod-\(name)", size: 0)
        try file.borrowed.writeWhole(bytes)
        try session.preserve(file.borrowed, token: token)
        own.append(OwnedFile(file))
    }
}

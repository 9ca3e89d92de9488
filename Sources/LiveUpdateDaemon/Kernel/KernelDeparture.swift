// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// The carrier of memory files to the next kernel, in the old boot: a session of the kernel's orchestrator.
///
/// 1. ``init(_:_:state:leavingOut:)`` makes the session.
/// 2. ``gifts()`` lists the memory files that the session lacks, and a thread preserves them (``KernelGifts``) while
///    clients are served. The kernel fills the holes of the files, so this can take long. Meanwhile the kernel refuses
///    to grow, to truncate and to punch the files.
/// 3. luod stops serving, and preserves the files that were added since then. Then it publishes.
/// 4. ``complete()`` preserves the arena and the list of the descriptors (``KernelCargo``). While the session is open,
///    the kernel holds everything, and a kexec hands it over.
///
/// If the session is closed before the kernel ends, the kernel unpreserves everything.
final class KernelDeparture {
    private let session: KernelSession
    private let orchestrator: Orchestrator
    private let store: DescriptorMirror
    private let isLeavingOut: Bool
    private var budget: KernelMemoryBudget
    /// The files as the last ``gifts()`` found them. Once the sessions are published, they can no longer be read.
    private var known: [KernelSelection.File] = []
    /// The tokens of the files that the kernel's session has.
    private var given: [FileIdentity: UInt64] = [:]
    /// The files that the kernel does not take, and that the update goes on without.
    private var leftOut: Set<FileIdentity> = []
    private var lastToken: UInt64 = 0
    /// The memory files that luod makes for the kernel: the list and the arena.
    private var own: [OwnedFile] = []

    /// Makes a session of the kernel for a state.
    ///
    /// - Parameters:
    ///   - orchestrator: has the sessions.
    ///   - store: has the descriptors.
    ///   - state: the path of the state.
    ///   - leavingOut: whether files that the kernel does not take are left out.
    /// - Throws: ENOMEM when the kernel has no memory for the arena; EBUSY when another process has /dev/liveupdate
    ///   open; EEXIST when the state has a session of the kernel already; the errors of the device.
    init(
        _ orchestrator: Orchestrator, _ store: DescriptorMirror, state: String, leavingOut: Bool
    ) throws(LiveUpdateError) {
        self.orchestrator = orchestrator
        self.store = store
        isLeavingOut = leavingOut
        budget = try KernelMemoryBudget()
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
    }

    private static func remedy(withoutSession errno: Errno) -> String {
        switch errno {
        case .resourceBusy: "end the process that has /dev/liveupdate open"
        case .fileExists: "end the process that holds the session of this state"
        case .noMemory: "release memory"
        default: "start the kernel with kho=on liveupdate=on"
        }
    }

    /// The session, for the process that holds it until the kernel ends.
    var descriptor: FileDescriptor { session.descriptor }

    // MARK: Files

    /// The files of outgoing sessions that the kernel's session lacks.
    ///
    /// - Throws: as ``Orchestrator/status()``; EMFILE.
    func gifts() throws(LiveUpdateError) -> KernelGifts {
        let files = try files()
        known = files.map(\.selected)
        let selection = KernelSelection(
            known, given: given, leftOut: leftOut, lastToken: lastToken)
        lastToken += UInt64(selection.gifts.count)
        do throws(SystemCallError) {
            let items = try selection.gifts.map { (gift) throws(SystemCallError) in
                let file = files[gift.index]
                return KernelGifts.Item(
                    identity: gift.identity, token: gift.token, size: file.size, allocated: file.allocated,
                    subject: file.subject, file: OwnedFile(try file.descriptor.duplicated()))
            }
            return KernelGifts(items, session, budget, isLeavingOut: isLeavingOut)
        } catch {
            throw LiveUpdateError(error, "preserving memory files in the kernel")
        }
    }

    /// Notes the files that ``KernelGifts/preserve()`` has preserved, in this thread or in another one.
    ///
    /// - Returns: a line for each file that was left out.
    func note(_ gifts: KernelGifts) -> [String] {
        let outcome = gifts.outcome
        given.merge(outcome.given) { _, new in new }
        leftOut.formUnion(outcome.leftOut.map(\.identity))
        budget = outcome.budget
        return outcome.leftOut.map(\.why)
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
        var selected: KernelSelection.File { KernelSelection.File(slot: slot, identity: identity) }
    }

    /// The files that only this carrier takes to the next kernel.
    private func files() throws(LiveUpdateError) -> [File] {
        try orchestrator.status().sessions.filter { $0.direction == .outgoing }.flatMap { session in
            session.files.filter { orchestrator.kernelFate(of: $0.compatible) == .needsLiveUpdate }.compactMap { file in
                // A lost file has no descriptor.
                guard let descriptor = store.descriptor(in: file.slot),
                    let found = try? FileStatus(cached: descriptor)
                else { return nil }
                return File(
                    session: session, token: file.token, slot: file.slot, descriptor: descriptor,
                    identity: found.identity, size: found.size, allocated: found.allocated)
            }
        }
    }

    // MARK: Completing

    /// Preserves the published arena, and the list of the descriptors that the last ``gifts()`` found.
    ///
    /// - Throws: EBADF when a descriptor is not held any more, ENOMEM, and the other errors of the kernel. The caller
    ///   must thaw then.
    func complete() throws(LiveUpdateError) {
        let carried = KernelSelection.carried(known, given: given)
        do throws(SystemCallError) {
            let items = try carried.map { (slot, token) throws(SystemCallError) in try item(slot, token) }
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

/// A descriptor that several threads may have.
final class OwnedFile: Sendable {
    let descriptor: OwnedDescriptor
    init(_ descriptor: consuming OwnedDescriptor) { self.descriptor = descriptor }
}

/// Memory files that a thread preserves in a session of the kernel. It has descriptors of its own, so that clients may
/// unpreserve the files meanwhile.
final class KernelGifts: Sendable {
    /// A memory file, with its token in the kernel's session.
    struct Item: Sendable {
        let identity: FileIdentity
        /// The token of the file in the kernel's session.
        let token: UInt64
        /// The size, in bytes.
        let size: UInt64
        /// The bytes of the file that have pages.
        let allocated: UInt64
        /// The user, the session and the token that clients know, for messages.
        let subject: String
        let file: OwnedFile
    }

    /// The result of ``preserve()``, up to now or at its end.
    struct Outcome: Sendable {
        var budget: KernelMemoryBudget
        var given: [FileIdentity: UInt64] = [:]
        var leftOut: [(identity: FileIdentity, why: String)] = []
    }

    private let items: [Item]
    private let session: KernelSession
    private let isLeavingOut: Bool
    private let result: Guarded<Outcome>

    init(_ items: [Item], _ session: KernelSession, _ budget: KernelMemoryBudget, isLeavingOut: Bool) {
        self.items = items
        self.session = session
        self.isLeavingOut = isLeavingOut
        result = Guarded(Outcome(budget: budget))
    }

    /// The result so far.
    var outcome: Outcome { result.with { $0 } }

    /// Preserves the files, unless the work is canceled.
    ///
    /// - Throws: ECANCELED when the client has gone; and, unless the update leaves such files out: ENOMEM when the
    ///   machine has no memory for the holes of a file, EOPNOTSUPP for a file that the kernel would seal, and the
    ///   kernel's error for a file. The error names the user, the session and the token of the file.
    func preserve() throws(LiveUpdateError) {
        for item in items {
            do throws(SystemCallError) {
                try Cancellation.check()
            } catch {
                throw LiveUpdateError(.canceled, "the client of the kernel update has gone", remedy: "ask again")
            }
            do throws(LiveUpdateError) {
                try preserve(item)
                result.with { $0.given[item.identity] = item.token }
            } catch {
                guard isLeavingOut else { throw error }
                result.with { $0.leftOut.append((item.identity, "\(error)")) }
            }
        }
    }

    private func preserve(_ item: Item) throws(LiveUpdateError) {
        guard result.with({ $0.budget.take(size: item.size, allocated: item.allocated) }) else {
            throw LiveUpdateError(
                .noMemory,
                "\(item.subject): the kernel would need more memory for the file than it has: it fills holes, and "
                    + "moves pages out of its own reserve",
                remedy: "release memory, or put the file on DAX (luoctl dax plan)")
        }
        try checkSeals(item)
        do throws(SystemCallError) {
            try session.preserve(item.file.descriptor.borrowed, token: item.token)
        } catch {
            throw LiveUpdateError(
                error.errno,
                "\(item.subject): the kernel cannot preserve the memory file",
                remedy: "unpreserve it, or put its memory on DAX (luoctl dax plan)")
        }
    }

    /// Checks that the file can be written to under the next kernel, as now. Linux 7.3.4 gives a retrieved file all
    /// rights, and a file with F_SEAL_EXEC that can be executed is sealed against writing.
    private func checkSeals(_ item: Item) throws(LiveUpdateError) {
        guard let seals = try? item.file.descriptor.borrowed.seals(), seals.contains(.exec), !seals.contains(.write)
        else { return }
        throw LiveUpdateError(
            .notSupported,
            "\(item.subject): the kernel would seal the file against writing, because it has F_SEAL_EXEC (MFD_NOEXEC_SEAL)",
            remedy: "make the file without MFD_NOEXEC_SEAL (vm.memfd_noexec=0), or put it on DAX (luoctl dax plan)")
    }
}

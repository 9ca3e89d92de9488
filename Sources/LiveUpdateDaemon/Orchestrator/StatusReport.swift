// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdateHandlers
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// Makes the pages of STATUS: docs/protocol.md. The cost of a page depends on its content, and not on how much luod
/// holds.
struct StatusReport {
    /// The page, and the request for the next one.
    struct Page {
        var lines: StatusLines
        var next: StatusCall
    }

    /// The most sessions and files on one page: about as many as fit.
    private static let mostEntries = 512

    /// Makes a page.
    ///
    /// - Parameters:
    ///   - call: the request.
    ///   - boot: the number of the boot, which is not 0.
    ///   - room: the most bytes of the lines.
    ///   - daemon: returns the line of luod, for the first page.
    ///   - parts: returns the sessions and files after a position, at most a given number of them.
    ///   - session: returns a session's line.
    ///   - file: returns the line of a file with a problem or without one. It looks at the file's descriptor.
    /// - Returns: the page, and the request for the next one.
    /// - Throws: ESTALE when the position belongs to another boot, and the errors of `parts`.
    static func page(
        _ call: StatusCall, boot: UInt32, room: Int = StatusLines.most,
        daemon: () -> LuodStatus.Daemon,
        parts: (StatusPosition, Int) throws(LiveUpdateError) -> StatusPage,
        session: (StatusPage.Part) -> LuodStatus.Session,
        file: (Status.File, String?) -> LuodStatus.File
    ) throws(LiveUpdateError) -> Page {
        guard call.isFirst || call.boot == boot else {
            throw LiveUpdateError(
                .staleNFSFileHandle, "an update came between two pages of the status",
                remedy: "read the status from its beginning")
        }
        var lines = StatusLines(room: room)
        if call.isFirst { lines.add(daemon()) }
        var last = call.position
        let page = try parts(last, mostEntries)
        var next: StatusCall { StatusCall(boot: boot, last) }
        for part in page.parts {
            guard lines.add(session(part)) else { return Page(lines: lines, next: next) }
            if !part.isContinued { last = StatusPosition(session: part.number) }
            for (index, one) in part.session.files.enumerated() {
                guard lines.add(file(one, part.problems[index])) else { return Page(lines: lines, next: next) }
                last = StatusPosition(session: part.number, file: part.fileNumbers[index])
            }
        }
        return Page(lines: lines, next: page.isLast ? StatusCall() : next)
    }
}

extension StatusCall {
    init(boot: UInt32, _ position: StatusPosition) {
        self.init(boot: boot, session: position.session, file: position.file)
    }

    var position: StatusPosition { StatusPosition(session: session, file: file) }
}

/// Performs STATUS: finds the lines of a page.
final class StatusReporter {
    private let store: DescriptorMirror
    private let orchestrator: Orchestrator
    private let keeper: KeeperLink
    private let updates: UpdateRunner
    private let admissions: Admissions
    private let connections: ConnectionTable
    private let work: WorkQueue
    private let refusal: Refusal?
    private let state: StateDirectory
    /// The processes at the last look, and the time of that look in nanoseconds.
    private var looked: (at: UInt64, processes: [LuodStatus.Process]) = (0, [])
    /// The persistent memory that is missing, and the time in nanoseconds until which this is not looked at again.
    private var missing: (until: UInt64, regions: [String]) = (0, [])

    init(
        _ store: DescriptorMirror, _ orchestrator: Orchestrator, _ keeper: KeeperLink,
        _ updates: UpdateRunner, _ admissions: Admissions, _ connections: ConnectionTable,
        _ work: WorkQueue, _ refusal: Refusal?, _ state: StateDirectory
    ) {
        self.store = store
        self.orchestrator = orchestrator
        self.keeper = keeper
        self.updates = updates
        self.admissions = admissions
        self.connections = connections
        self.work = work
        self.refusal = refusal
        self.state = state
    }

    /// - Throws: ESTALE when the position belongs to another boot.
    func perform(_ request: Request, _ client: Client) throws(LiveUpdateError) -> Reply {
        let socket = client.connection.descriptor
        let summary = try orchestrator.statusSummary()
        let user = client.user == 0 ? nil : client.user
        let page = try StatusReport.page(
            StatusCall(request.body), boot: UInt32(truncatingIfNeeded: summary.updateNumber) &+ 1,
            // A page is one message, which must fit into the socket.
            room: min(StatusLines.most, max(socket.sendRoom - 4096, 4096))
        ) {
            daemon(summary, for: user)
        } parts: { (position, most) throws(LiveUpdateError) in
            try orchestrator.statusPage(after: position, of: user, most: most)
        } session: { part in
            session(part)
        } file: { file, problem in
            describe(file, problem)
        }
        var reply = Reply(0, body: page.next.body)
        reply.response.text = page.lines.bytes
        return reply
    }

    private func daemon(_ summary: StatusSummary, for user: SessionUser?) -> LuodStatus.Daemon {
        let process = keeper.process ?? 0
        return LuodStatus.Daemon(
            orchestrator: getpid(), keeper: process, processes: processes(process),
            keeperAnswers: process != 0 && !keeper.isSilent,
            refusal: refusal?.failure.description, updates: summary.updateNumber, lastBlackout: updates.lastBlackout,
            arenaSize: summary.arenaSize,
            arenaUsed: summary.arenaUsed,
            flbs: summary.flbs.map { flb in
                LuodStatus.FLB(
                    compatible: flb.compatible, direction: flb.direction.rawValue, count: Int64(clamping: flb.count))
            },
            memory: admissions.memory(of: user), missing: missingMemory(), carriesMemory: KernelSession.isPossible,
            // Only root makes an image ready.
            ready: user == nil ? updates.readyImage : nil,
            load: user == nil || user == geteuid() ? load : nil, arenaIsNamed: !keeper.hasRemovedArena)
    }

    /// The counters, and the load of this process. They are about all users.
    private var load: LuodStatus.Load {
        LuodStatus.Load(
            counters: keeper.counters ?? [], blackouts: keeper.blackouts,
            queue: work.count + connections.postponedCount, descriptors: store.count,
            descriptorLimit: connections.quota.mostOfProcess)
    }

    /// The persistent memory that is missing. It is looked at once per second at most, because that reads many files of
    /// sysfs.
    private func missingMemory() -> [String] {
        let now = monotonicNanoseconds()
        if now > missing.until { missing = (now + 1_000_000_000, orchestrator.missingMemory) }
        return missing.regions
    }

    /// The processes of luod. Their rights are read at most once per second, because that takes longer than the rest of
    /// the status.
    private func processes(_ keeper: CInt) -> [LuodStatus.Process] {
        let named = [("keeper", keeper), ("orchestrator", getpid()), ("gate", state.gate ?? 0)].filter { $0.1 != 0 }
        let now = monotonicNanoseconds()
        if now > looked.at + 1_000_000_000 || looked.processes.map(\.process) != named.map(\.1) {
            looked = (now, named.compactMap { LuodStatus.Process($0.0, $0.1) })
        }
        return looked.processes
    }

    private func session(_ part: StatusPage.Part) -> LuodStatus.Session {
        let session = part.session
        let isAttached = store.entry(session.holder.slot) != nil
        return LuodStatus.Session(
            number: part.number, name: session.name.description, owner: session.holder.user,
            direction: session.direction.rawValue, isOpen: session.isOpen, isFinished: session.isFinished,
            isDetached: session.holder.isDetached, isAttached: isAttached, since: session.maker?.time,
            maker: session.maker?.client.map { LuodStatus.Client($0) },
            holder: isAttached ? session.client.map { LuodStatus.Client($0) } : nil)
    }

    private func describe(_ file: Status.File, _ problem: String?) -> LuodStatus.File {
        let descriptor = store.descriptor(in: file.slot)
        let status = descriptor.flatMap { try? FileStatus(cached: $0) }
        let locks = descriptor.map { FileLock.all(of: $0) } ?? []
        return LuodStatus.File(
            token: "\(file.token)", compatible: file.compatible,
            // This does not ask the file system, because it may not answer.
            size: status?.size, allocated: status?.allocated,
            retrieved: file.retrieveStatus.number, problem: problem, isAttested: file.isAttested,
            locks: locks.isEmpty ? nil : locks.map(\.description),
            kernel: orchestrator.kernelFate(of: file.compatible).rawValue,
            device: status.map { $0.type == .characterDevice ? $0.deviceNumber : $0.identity.device },
            inode: status?.identity.inode, pageSize: descriptor.flatMap { hugePageSize($0, file.compatible) })
    }

    /// The page size of a file on huge pages. Other file systems are not asked, because they may not answer.
    private func hugePageSize(_ descriptor: FileDescriptor, _ compatible: String) -> UInt64? {
        guard [HugeMemfdHandler.format, HugetlbfsFileHandler.format].contains(compatible),
            case .hugetlbfs(let size) = try? FileSystemKind(of: descriptor)
        else { return nil }
        return size
    }
}

extension LuodStatus.Client {
    fileprivate init(_ client: SessionClient) { self.init(process: client.process, command: client.commandText) }
}

extension LuodStatus.Process {
    /// The actual rights of a process, from the kernel. Nil when the process has ended.
    fileprivate init?(_ name: String, _ process: CInt) {
        guard let rights = try? ProcessRights(of: process) else { return nil }
        self.init(
            name: name, process: process, capabilities: rights.capabilities,
            hasNoNewPrivileges: rights.hasNoNewPrivileges, seccomp: "\(rights.seccomp)")
    }
}

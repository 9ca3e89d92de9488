import Glibc
import LiveUpdate
import LiveUpdateEmbedded
import LiveUpdateHandlers
import Logging
import Platform
import SystemPackage

/// One boot of the demo: the first one makes files and preserves them; every later one gets them back, verifies them,
/// and either preserves them again or reports.
struct DemoBoot {
    private let process: UpdatableProcess
    private let counts: FLBCallCounts
    private let command: DemoCommand
    private let log = Logger(label: "luoctl.demo")

    init(_ process: UpdatableProcess, _ counts: FLBCallCounts, _ command: DemoCommand) {
        self.process = process
        self.counts = counts
        self.command = command
    }

    private var orchestrator: Orchestrator { process.orchestrator }

    static func register(_ orchestrator: Orchestrator, _ counts: FLBCallCounts) throws(LiveUpdateError) {
        let hugeMemfd = HugeMemfdHandler()
        try orchestrator.register(MemfdHandler())
        try orchestrator.register(hugeMemfd)
        try orchestrator.register(CountedHugeTLB(counts), on: hugeMemfd)
    }

    // MARK: The first boot

    func first() throws -> Never {
        var notes = DemoNotes()
        do {
            let (made, file) = try oneAtATime { try makeFiles(&notes) }
            try preserve(made, &notes, file, update: 1)
            try reboot(&notes, file)
        } catch {
            notes.poolGuard?.finish()
            throw error
        }
    }

    private func makeFiles(_ notes: inout DemoNotes) throws -> (Made, NotesFile) {
        let plan = try plan(&notes)
        guard !plan.isEmpty else { throw Exit.unavailable("nothing to show: \(notes.leftOut.joined(separator: ", "))") }
        try checkMemory(plan)
        let file = try NotesFile(making: plan.reduce(0) { $0 + $1.pages })
        return (try make(plan, &notes, file), file)
    }

    /// Pages that one demo found free and has not touched yet look free to another: so they take them one at a time.
    private func oneAtATime<Value>(_ body: () throws -> Value) rethrows -> Value {
        let lock = unsafe open("/run/lock/liveupdate-demo.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        if lock >= 0 { flock(lock, LOCK_EX) }
        defer { if lock >= 0 { close(lock) } }
        return try body()
    }

    /// The files to make: those on huge pages only if there are pages for them.
    private func plan(_ notes: inout DemoNotes) throws -> [DemoFile] {
        let all = (0..<command.files).map { index in
            DemoFile(
                index: index, size: command.size, pageSize: index % 2 == 0 ? .huge2M : .base, seed: command.seed)
        }
        let needed = UInt64(all.filter { $0.pageSize != .base }.reduce(0) { $0 + $1.pages })
        if command.noReserve {
            guard try HugePagePool(.huge2M).available >= needed else {
                return leaveOutHuge(all, "\(needed) free pages are needed, and --no-reserve was given", &notes)
            }
            return all
        }
        say("reserving what is missing of \(needed) huge pages of 2 MiB; they are given back at the end")
        switch try PoolGuard.start(pages: needed, of: .huge2M) {
        case .success(let (poolGuard, taken)):
            notes.poolGuard = poolGuard
            notes.reserved = taken
            say(taken == 0 ? "the pool had enough" : "reserved \(taken)")
            return all
        case .failure(let reason):
            return leaveOutHuge(all, reason.text, &notes)
        }
    }

    private func leaveOutHuge(_ all: [DemoFile], _ reason: String, _ notes: inout DemoNotes) -> [DemoFile] {
        let left = "\(all.filter { $0.pageSize != .base }.count) files on huge pages: \(reason)"
        say("left out: \(left)")
        notes.leftOut.append(left)
        return all.filter { $0.pageSize == .base }
    }

    private func checkMemory(_ plan: [DemoFile]) throws {
        let wanted = plan.filter { $0.pageSize == .base }.reduce(0) { $0 + $1.dataBytes }
        let available = try availableMemory()
        guard wanted + (1 << 30) <= available else {
            throw Exit.unavailable(
                "the files take \(ByteCount.text(wanted)), and \(ByteCount.text(available)) are available: "
                    + "try --files or --size")
        }
    }

    private typealias Made = [(file: DemoFile, descriptor: FileDescriptor)]

    private func make(_ plan: [DemoFile], _ notes: inout DemoNotes, _ file: NotesFile) throws -> Made {
        let bytes = plan.reduce(0) { $0 + $1.dataBytes }
        let progress = Progress("filling", total: 2 * bytes, isShown: !command.json)
        let start = monotonicNanoseconds()
        var made: Made = []
        var next = 0
        for item in plan {
            let (descriptor, crc) = try item.make(progress)
            let (_, frames) = try item.read(descriptor, item.extents, progress)
            let identity = try FileStatus(of: descriptor).identity
            file.setFrames(frames, from: next)
            notes.files.append(
                DemoNotes.File(
                    token: item.token, session: item.session, order: item.pageSize.order, size: item.size,
                    position: item.position, seals: item.seals.rawValue, holes: item.hasHoles, crc: crc,
                    device: identity.device, inode: identity.inode, frames: next..<next + frames.count))
            next += frames.count
            made.append((item, descriptor))
        }
        notes.phases.append(
            DemoNotes.Phase(update: 0, name: "fill", nanoseconds: monotonicNanoseconds() - start, bytes: bytes))
        return made
    }

    // MARK: Preserving, and the update

    private func preserve(
        _ made: Made, _ notes: inout DemoNotes, _ file: NotesFile, update: UInt64
    ) throws {
        let start = monotonicNanoseconds()
        let sessions = [
            "demo-a": try orchestrator.createSession("demo-a"),
            "demo-b": try orchestrator.createSession("demo-b"),
        ]
        for (item, descriptor) in made {
            try sessions[item.session]?.preserve(descriptor, token: item.token)
        }
        let time = monotonicNanoseconds() - start
        try sessions[DemoNotes.session]?.preserve(file.descriptor.borrowed, token: DemoNotes.token)
        for (_, descriptor) in made { try closeDescriptor(descriptor) }
        notes.phases.append(DemoNotes.Phase(update: update, name: "preserve", nanoseconds: time, bytes: 0))
    }

    private func reboot(_ notes: inout DemoNotes, _ file: NotesFile) throws -> Never {
        merge(counts.take(), into: &notes)
        try file.save(notes)
        let image = ProgramImage(path: "/proc/self/exe", arguments: CommandLine.arguments)
        try process.check(image)
        say("the next image knows all formats in use; becoming it by execve")
        // What is buffered does not survive execve.
        fflush(nil)
        try process.reboot(into: image)
    }

    private func merge(_ calls: [String: Int], into notes: inout DemoNotes) {
        for (callback, count) in calls { notes.flbCalls[callback, default: 0] += count }
    }

    // MARK: Later boots

    func next() throws -> DemoReport {
        let answered = try orchestrator.retrieveSession(DemoNotes.session)
        let blackoutEnd = monotonicNanoseconds()
        let file = try NotesFile(opening: try answered.retrieve(token: DemoNotes.token))
        var notes = try file.load()
        do {
            return try goOn(answered, &notes, file, blackoutEnd: blackoutEnd)
        } catch {
            notes.poolGuard?.finish()
            throw error
        }
    }

    private func goOn(
        _ answered: Session, _ notes: inout DemoNotes, _ file: NotesFile, blackoutEnd: UInt64
    ) throws -> DemoReport {
        let sessions = [answered, try orchestrator.retrieveSession("demo-b")]
        let update = try noteUpdate(&notes, blackoutEnd: blackoutEnd)
        let made = try retrieve(sessions, &notes, update)
        try verify(made, &notes, file, update)
        try finish(sessions, &notes, update)
        if update < command.updates {
            try preserve(made, &notes, file, update: update + 1)
            try reboot(&notes, file)
        }
        merge(counts.take(), into: &notes)
        for (_, descriptor) in made { try closeDescriptor(descriptor) }
        notes.poolGuard?.finish()
        return DemoReport(notes, updates: update)
    }

    private func noteUpdate(_ notes: inout DemoNotes, blackoutEnd: UInt64) throws -> UInt64 {
        let status = try orchestrator.status()
        let freeze = status.freeze
        let parts = [
            ("freeze", freeze.end - freeze.start), ("publish, execve, boot", blackoutEnd - freeze.end),
            ("blackout", blackoutEnd - freeze.start),
        ]
        for (name, time) in parts {
            notes.phases.append(
                DemoNotes.Phase(update: status.updateNumber, name: name, nanoseconds: time, bytes: 0))
        }
        return status.updateNumber
    }

    /// In another order than they were preserved in: from the last to the first.
    private func retrieve(
        _ sessions: [Session], _ notes: inout DemoNotes, _ update: UInt64
    ) throws -> Made {
        let start = monotonicNanoseconds()
        var made: Made = []
        for entry in notes.files.reversed() {
            guard let session = sessions.first(where: { $0.name == entry.session }) else { continue }
            let item = DemoFile(
                index: Int(entry.token) - 1, size: entry.size, pageSize: PageSize(order: entry.order),
                seed: command.seed)
            made.append((item, try session.retrieve(token: entry.token)))
        }
        let time = monotonicNanoseconds() - start
        notes.phases.append(DemoNotes.Phase(update: update, name: "retrieve", nanoseconds: time, bytes: 0))
        return made
    }

    private func verify(
        _ made: Made, _ notes: inout DemoNotes, _ file: NotesFile, _ update: UInt64
    ) throws {
        let bytes = made.reduce(0) { $0 + $1.file.dataBytes }
        let progress = Progress("verifying", total: bytes, isShown: !command.json)
        let start = monotonicNanoseconds()
        for entry in notes.files {
            guard let (item, descriptor) = made.first(where: { $0.file.token == entry.token }) else { continue }
            let check = DemoCheck(item: item, entry: entry, frames: file.frames(entry.frames))
            var finding = try check.run(descriptor, progress)
            finding.update = update
            notes.findings.append(finding)
        }
        notes.phases.append(
            DemoNotes.Phase(
                update: update, name: "verify", nanoseconds: monotonicNanoseconds() - start, bytes: bytes))
    }

    private func finish(_ sessions: [Session], _ notes: inout DemoNotes, _ update: UInt64) throws {
        let start = monotonicNanoseconds()
        for session in sessions {
            try session.finish()
            try session.close()
        }
        let time = monotonicNanoseconds() - start
        notes.phases.append(DemoNotes.Phase(update: update, name: "finish", nanoseconds: time, bytes: 0))
    }

    private func say(_ text: String) { log.info("\(text)") }
}

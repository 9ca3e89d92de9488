// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdate
import LiveUpdateCore
import LiveUpdateHandlers
import LiveUpdatePlatform
import Logging
import SystemPackage

/// One boot of the demo. The first boot makes files and preserves them. Every later boot retrieves and verifies them,
/// and either preserves them again or reports.
struct DemoBoot {
    private let process: UpdatableProcess
    private let hugeTLB: CountedHugeTLB
    private let place: DemoPlace
    private let command: DemoCommand
    private let log = Logger(label: "luoctl.demo")

    init(_ process: UpdatableProcess, _ hugeTLB: CountedHugeTLB, _ place: DemoPlace, _ command: DemoCommand) {
        self.process = process
        self.hugeTLB = hugeTLB
        self.place = place
        self.command = command
    }

    private var orchestrator: Orchestrator { process.orchestrator }

    static func register(_ orchestrator: Orchestrator, _ hugeTLB: CountedHugeTLB) throws(LiveUpdateError) {
        try orchestrator.register(MemfdHandler())
        let onHugePages: [any FileHandler] = [HugeMemfdHandler(), HugetlbfsFileHandler()]
        for handler in onHugePages {
            try orchestrator.register(handler)
            try orchestrator.register(hugeTLB, on: handler)
        }
    }

    /// Runs the boot. Returns only in the last boot: every other boot ends by executing the next one.
    ///
    /// However the last boot ends, it leaves nothing behind.
    func run() throws -> DemoReport {
        DemoSignals.watch()
        let update = try orchestrator.status().updateNumber
        var notes = update == 0 ? DemoNotes(seed: command.seed) : try DemoNotes.load(from: place)
        defer {
            place.remove()
            notes.finishGuards()
        }
        do {
            if update == 0 { try first(&notes) }
            return try next(&notes, update)
        } catch let error as LiveUpdateError {
            return DemoReport(notes, updates: update, failure: "\(error)")
        } catch let error as SystemCallError {
            return DemoReport(notes, updates: update, failure: "\(error)")
        }
    }

    private func say(_ text: String) { log.info("\(text)") }

    // MARK: The first boot

    private func first(_ notes: inout DemoNotes) throws -> Never {
        for other in place.others {
            guard let recovered = DemoRecovery.run(other) else { continue }
            for line in [recovered.text] + recovered.faults { say(line) }
            notes.recovered.append(recovered)
        }
        let made = try DemoFiles(command: command, place: place, say: say).make(&notes)
        // A later run can find this one as soon as files are preserved. The notes must be complete before.
        try notes.save(to: place)
        try preserve(made, &notes, update: 1)
        if let sabotage = command.sabotage {
            let done = try sabotage.run(made, &notes, place)
            say("sabotage: \(done)")
            notes.sabotage = done
        }
        close(made)
        try reboot(&notes)
    }

    // MARK: Preserving, and the update

    private func preserve(_ made: DemoFiles.Made, _ notes: inout DemoNotes, update: UInt64) throws {
        let start = monotonicNanoseconds()
        let sessions = try DemoFile.sessions.map { try orchestrator.createSession($0) }
        for (item, descriptor) in made {
            try sessions.first { $0.name == item.session }?.preserve(descriptor, token: item.token)
        }
        notes.phases.append(
            DemoNotes.Phase(update: update, name: "preserve", nanoseconds: monotonicNanoseconds() - start, bytes: 0))
    }

    private func close(_ made: DemoFiles.Made) {
        for (_, descriptor) in made { try? closeDescriptor(descriptor) }
    }

    private func reboot(_ notes: inout DemoNotes) throws -> Never {
        for (callback, count) in hugeTLB.counts.take() { notes.flbCalls[callback, default: 0] += count }
        try notes.save(to: place)
        let image = ProgramImage(path: "/proc/self/exe", arguments: CommandLine.arguments)
        try process.check(image)
        say("the next image knows all formats in use; becoming it by execve")
        try process.reboot(into: image, unchecked: true)
    }

    // MARK: Later boots

    private func next(_ notes: inout DemoNotes, _ update: UInt64) throws -> DemoReport {
        let sessions = try DemoFile.sessions.map { try orchestrator.retrieveSession($0) }
        noteUpdate(&notes, blackoutEnd: monotonicNanoseconds(), try orchestrator.status())
        let made = try retrieve(sessions, &notes, update)
        try verify(made, &notes, update)
        try comparePool(&notes)
        try finish(sessions, &notes, update)
        if update < command.updates {
            try preserve(made, &notes, update: update + 1)
            close(made)
            try reboot(&notes)
        }
        close(made)
        for (callback, count) in hugeTLB.counts.take() { notes.flbCalls[callback, default: 0] += count }
        return DemoReport(notes, updates: update)
    }

    private func noteUpdate(_ notes: inout DemoNotes, blackoutEnd: UInt64, _ status: Status) {
        let freeze = status.freeze
        let parts = [
            ("freeze", freeze.end - freeze.start), ("publish, execve, boot", blackoutEnd - freeze.end),
            ("blackout", blackoutEnd - freeze.start),
        ]
        for (name, time) in parts {
            notes.phases.append(
                DemoNotes.Phase(update: status.updateNumber, name: name, nanoseconds: time, bytes: 0))
        }
    }

    /// Retrieves the files in another order than the one in which they were preserved: from the last to the first.
    private func retrieve(
        _ sessions: [Session], _ notes: inout DemoNotes, _ update: UInt64
    ) throws -> DemoFiles.Made {
        let start = monotonicNanoseconds()
        var made: DemoFiles.Made = []
        for entry in notes.files.reversed() {
            guard let session = sessions.first(where: { $0.name == SessionName(described: entry.session) }) else {
                continue
            }
            made.append((DemoFile(entry, seed: notes.seed), try session.retrieve(token: entry.token).release()))
        }
        notes.phases.append(
            DemoNotes.Phase(update: update, name: "retrieve", nanoseconds: monotonicNanoseconds() - start, bytes: 0))
        return made
    }

    private func verify(_ made: DemoFiles.Made, _ notes: inout DemoNotes, _ update: UInt64) throws {
        let frames = try FramesFile(place.frames)
        let bytes = made.reduce(0) { $0 + $1.file.dataBytes }
        let progress = Progress("verifying", total: bytes, isShown: !command.json)
        let start = monotonicNanoseconds()
        for entry in notes.files {
            guard let (item, descriptor) = made.first(where: { $0.file.token == entry.token }) else { continue }
            let check = DemoCheck(item: item, entry: entry, frames: frames[entry.frames])
            var finding = try check.run(descriptor, progress)
            finding.update = update
            notes.findings.append(finding)
        }
        notes.phases.append(
            DemoNotes.Phase(
                update: update, name: "verify", nanoseconds: monotonicNanoseconds() - start, bytes: bytes))
    }

    /// Compares the huge page pools with their state from before the update.
    ///
    /// Other programs may reserve and release pages. That is harmless as long as the preserved pages stay in the pool.
    private func comparePool(_ notes: inout DemoNotes) throws {
        guard notes.files.contains(where: { $0.order > 0 }) else { return }
        let (faults, changes) = try orchestrator.withIncoming(hugeTLB) { (state) throws(LiveUpdateError) in
            let changes = try state.changes()
            let harmless = changes.filter {
                $0.setting != .overcommit && $0.now >= state.pagesPreserved(of: $0.pageSize)
            }
            return (changes.filter { !harmless.contains($0) }.map(\.description), harmless.map(\.description))
        }
        for fault in faults where !notes.poolFaults.contains(fault) { notes.poolFaults.append(fault) }
        for change in changes where !notes.poolChanges.contains(change) { notes.poolChanges.append(change) }
    }

    private func finish(_ sessions: [Session], _ notes: inout DemoNotes, _ update: UInt64) throws {
        let start = monotonicNanoseconds()
        for session in sessions {
            try session.finish()
            try session.close()
        }
        notes.phases.append(
            DemoNotes.Phase(update: update, name: "finish", nanoseconds: monotonicNanoseconds() - start, bytes: 0))
    }
}

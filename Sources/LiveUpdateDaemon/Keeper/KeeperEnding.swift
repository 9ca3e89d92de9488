// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform
import LiveUpdateProtocol
import Logging
import SystemPackage

/// Ends luod: after a signal, at the orchestrator's request, or because luod is unused.
final class KeeperEnding {
    private let rooms: KeeperRooms
    private let updates: NextImageSupervisor
    /// The descriptor that reports SIGTERM, SIGINT and SIGHUP.
    private let signals: FileDescriptor
    /// Whether luod is ending.
    private(set) var isUnderWay = false
    /// Whether the orchestrator has logged the sessions and files that end.
    private var isLogged = false
    /// The flags of a request to publish for the next kernel at the end of luod; 0 without a request.
    private(set) var publication: UInt32 = 0
    /// The session of the kernel's orchestrator with which memory files go to the next kernel.
    private var session: KernelSession?

    /// The time for the orchestrator to log the sessions and files that end, in milliseconds.
    private static let patience: UInt64 = 1000
    /// The time for the orchestrator to publish for the next kernel, in milliseconds. systemd gives a service 90
    /// seconds to stop, unless TimeoutStopSec= says otherwise.
    private static let patienceForPublication: UInt64 = 80_000
    /// The most orchestrators that are asked to publish for the next kernel.
    private static let mostOrchestrators = 3

    /// Prepares the end. `publication` has the flags that the keeper's earlier program has noted; 0 without a request.
    init(_ rooms: KeeperRooms, _ updates: NextImageSupervisor, signals: FileDescriptor, publication: UInt32) {
        self.publication = publication
        self.rooms = rooms
        self.updates = updates
        self.signals = signals
    }

    /// Notes that the orchestrator has logged the sessions and files that end.
    func noteLog() { isLogged = true }

    /// Notes a request to publish for the next kernel when luod ends, or that it was taken back. It outlives
    /// orchestrators.
    func publishAtEnd(_ flags: UInt32) { publication = flags }

    /// Takes the session of the kernel's orchestrator, which must outlive luod.
    func holdUntilEnd(_ session: KernelSession) { self.session = session }

    /// Waits a moment. A signal in this time ends luod.
    func pause(_ milliseconds: CInt = 100, reading reader: OrchestratorReader) {
        guard signals.isReadable(within: milliseconds) else { return }
        end(reading: reader)
    }

    /// Ends luod, and with it the files that no service manager stores. Files with a name survive.
    ///
    /// - Parameter reader: reads the last messages of the orchestrator.
    func end(reading reader: OrchestratorReader) -> Never {
        isUnderWay = true
        sayLeftPrograms()
        updates.end()
        if !isLogged { completeOrchestrator(reader) }
        if publication != 0, publication & UpdateCall.withoutHolder == 0 { startHolder() }
        rooms.gate.end()
        rooms.orchestrator.end()
        let isStoring = rooms.service.isStoring
        if isStoring {
            try? reader.readAll()
            rooms.service.stop()
        }
        if rooms.settings.endsUnused { StateDirectory(rooms.settings.state).remove() }
        // Lets the next luod begin, even if this process takes long to close descriptors of clients. Descriptors that a
        // service manager stores stay open.
        if !isStoring { rooms.vault.endState() }
        exitNow(0)
    }

    /// Has the orchestrator publish for the next kernel, if that was requested, and log the sessions and files that
    /// end. An orchestrator that dies before it has published is replaced, because memory files would not go to the
    /// next kernel otherwise.
    private func completeOrchestrator(_ reader: OrchestratorReader) {
        let deadline = milliseconds() + (publication != 0 ? Self.patienceForPublication : Self.patience)
        for attempt in 1...Self.mostOrchestrators {
            haveEndLogged(reader, until: deadline)
            // An orchestrator may have done everything before it died.
            try? reader.readAll()
            let hasDied = rooms.orchestrator.current.link.descriptor.hasHungUp
            guard publication != 0, !isLogged, session == nil, hasDied else { return }
            guard attempt < Self.mostOrchestrators else { break }
            rooms.log.say(
                "the orchestrator ended before it had published for the next kernel: another is started", .warning)
            guard startAnother() else { break }
        }
        rooms.log.say("nothing is published for the next kernel: memory files do not go there", .error)
    }

    /// Starts an orchestrator in the place of a dead one.
    private func startAnother() -> Bool {
        let death = rooms.orchestrator.noteDeath { slot in rooms.vault.entry(slot)?.held.label.charged }
        let role = ControlMessage.Role(
            replacing: true, wasInUpdate: updates.isEndingBoot, mustRefuse: false, kernel: rooms.kernel.comparison,
            isRestored: false)
        let begin = ControlMessage.begin(
            role, nextSlot: rooms.vault.nextSlot, after: "the orchestrator ended (\(death.how))", pause: 0)
        do {
            try rooms.orchestrator.startNext(begin, rooms.vault, isStored: rooms.service.isStoring)
            return true
        } catch {
            rooms.log.say("no orchestrator could be started: \(error)", .error)
            return false
        }
    }

    /// Asks the orchestrator to publish and to log, and waits for it. The keeper does not know the sessions.
    private func haveEndLogged(_ reader: OrchestratorReader, until deadline: UInt64) {
        let link = rooms.orchestrator.current.link
        if publication != 0 { try? link.send(.publishAtEnd(flags: publication), patience: 100) }
        guard (try? link.send(.ending, patience: 100)) != nil else { return }
        while !isLogged, !link.descriptor.hasHungUp {
            let now = milliseconds()
            guard now < deadline, link.descriptor.isReadable(within: CInt(deadline - now)) else {
                rooms.log.say(
                    "the orchestrator does not answer: the log cannot name the sessions and files that end", .error)
                return
            }
            try? reader.readAll()
        }
    }

    /// Starts the process that holds the memory files until the kernel ends, or until luod starts again because the
    /// kernel was not replaced.
    private func startHolder() {
        guard session != nil || rooms.vault.all.contains(where: { KernelHolder.mayHold($0) }) else { return }
        do {
            let holder = try KernelHolder.start(
                StateDirectory(rooms.settings.state).holder, image: rooms.orchestrator.image.executable, rooms.settings,
                holding: rooms.vault.all, session: session?.descriptor, isIncoming: false)
            rooms.log.say(
                "process \(holder.id) holds the memory files until the kernel ends, or until luod starts again")
        } catch {
            rooms.log.say(
                "no process can hold the memory files until the kernel ends: \(error); they end with luod, and do not "
                    + "go to the next kernel")
        }
        session = nil
    }

    /// Logs the programs that are left: once the last copy of a filter's listener is closed, the kernel answers their
    /// calls with ENOSYS for ever.
    private func sayLeftPrograms() {
        let left = rooms.vault.programs.count { !$0.descriptor.hasHungUp }
        guard left > 0, !rooms.service.isStoring else { return }
        rooms.log.say("programs of \(left) luoctl run are left without a device: they can open nothing any more")
    }
}

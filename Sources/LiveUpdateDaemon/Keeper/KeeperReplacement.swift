// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdateMachine
import LiveUpdatePlatform
import SystemPackage

/// Makes the keeper another program in the same process (`luoctl reload --keeper`). The image has already proved that
/// it is a luod with this version of the control link.
///
/// 1. The keeper waits until all descriptors of clients are closed: a thread that sleeps in a close would delay
///    execve(2), which ends all threads.
/// 2. It writes its state into a memory file. All descriptors in the state stay open over execve(2).
/// 3. The next program reads the state and tells the orchestrator. Signals stay blocked meanwhile, and wait.
///
/// If execve(2) fails, nothing has changed.
struct KeeperReplacement {
    let rooms: KeeperRooms
    let updates: NextImageSupervisor
    let ending: KeeperEnding
    let reader: OrchestratorReader

    /// The longest time to wait for closes, in milliseconds.
    private static let patienceWithCloses: UInt64 = 1000

    /// Becomes another program. This returns only after a failure, which it reports to the orchestrator.
    func perform(_ replacement: NextImageSupervisor.Replacement) {
        let path = replacement.path
        do {
            try become(path, replacement.attempt)
        } catch {
            let why = "the keeper could not become \(path): \(error)"
            try? rooms.orchestrator.current.link.send(.update(.failed(why, attempt: replacement.attempt)))
        }
    }

    private func become(_ path: String, _ attempt: UInt32) throws -> Never {
        rooms.orchestrator.endRetired()
        try waitForCloses()
        // Reports closed descriptors to the orchestrator, so that it does not count them any longer.
        rooms.shortage.look(hasHandedOver: updates.isTakingOver)
        let program = try KeptImage(at: path)
        let state = handedState(attempt)
        let file = try makeMemoryFile(named: "luo-keeper", size: 0)
        try file.borrowed.writeWhole(state.bytes)
        let handed = (state.numbers + [file.borrowed.rawValue]).map { FileDescriptor(rawValue: $0) }
        defer { setCloseOnExec(handed) }
        for descriptor in handed { try descriptor.setCloseOnExec(false) }
        rooms.log.say("the keeper becomes \(path)")
        try ProgramImage(
            path: FilePath(program.executable),
            arguments: ["luod", KeeperProcess.replacing, "\(file.borrowed.rawValue)", rooms.settings.state]
        ).execute()
    }

    private func waitForCloses() throws {
        let deadline = milliseconds() + Self.patienceWithCloses
        while rooms.vault.closing > 0 {
            guard milliseconds() < deadline else {
                throw StartFailure(
                    .unavailable,
                    "\(rooms.vault.closing) descriptors of clients wait to be closed: try again when they are")
            }
            ending.pause(10, reading: reader)
        }
    }

    /// The state that the next program of the keeper needs.
    private func handedState(_ attempt: UInt32) -> KeeperState {
        let orchestrator = rooms.orchestrator
        return KeeperState(
            settings: rooms.settings, nextSlot: rooms.vault.nextSlot,
            entries: rooms.vault.all.map { KeeperState.Entry(held: $0.held, number: $0.descriptor.rawValue) },
            orchestrator: orchestrator.current.handed, image: orchestrator.image.path,
            imageFile: orchestrator.image.file.borrowed.rawValue, gate: rooms.gate.handed,
            service: rooms.service.handed,
            hasLostStarter: rooms.starter.hasGone, unreaped: rooms.children.processes, publication: ending.publication,
            attempt: attempt)
    }
}

// MARK: The next program

extension KeeperProcess {
    /// The first argument of a program that replaces a keeper. The second is the number of the memory file.
    package static let replacing = "keeper"

    /// Continues as the keeper, with the state in a memory file.
    ///
    /// - Throws: the error that made this impossible. The orchestrator then continues alone.
    package static func resume(from number: CInt) throws -> Never {
        let file = OwnedDescriptor(taking: FileDescriptor(rawValue: number))
        let state = try KeeperState(try file.borrowed.bytes(at: 0, count: Int(try FileStatus(of: file.borrowed).size)))
        setCloseOnExec(state.numbers.map { FileDescriptor(rawValue: $0) } + [file.borrowed])
        LogFormat.choose(state.settings.logFormat)
        growDescriptorTable(to: state.settings.descriptors)
        try? SpawnNumbers.reserve()
        let keeper = try KeeperProcess(state.settings, TakenState(state), nil) {}
        try keeper.serve(announcing: .keeperReplaced(attempt: state.attempt))
    }
}

extension TakenState {
    /// The state of a keeper that has become this program.
    init(_ state: KeeperState) {
        let table = DescriptorVault()
        for entry in state.entries { table.keep(entry.held, FileDescriptor(rawValue: entry.number)) }
        table.startNumbering(at: state.nextSlot)
        self.init(
            table: table, running: LinkedProcess(state.orchestrator), stored: state.service?.stored ?? [],
            stale: state.service?.stale ?? [], replaced: state)
    }
}

extension LinkedProcess {
    /// A process that the keeper's earlier program has started.
    convenience init(_ process: KeeperState.Process) {
        let handle = OwnedDescriptor(taking: FileDescriptor(rawValue: process.handle))
        self.init(
            found: ControlLink(OwnedDescriptor(taking: FileDescriptor(rawValue: process.link))),
            RunningProcess(process.id, handle: handle))
    }

    /// The process, in the form that the next program of the keeper reads.
    var handed: KeeperState.Process {
        KeeperState.Process(id: process.id, link: link.descriptor.rawValue, handle: ending.rawValue)
    }
}

// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdateMachine
import LiveUpdatePlatform
import Logging
import SystemPackage

/// Reads the messages of the current orchestrator, and passes each to the part of the keeper that handles it.
final class OrchestratorReader {
    private let rooms: KeeperRooms
    private let updates: NextImageSupervisor
    private let ending: KeeperEnding
    private let ready: () -> Void
    /// Whether luod has reported that it is ready.
    private var isReadySaid: Bool
    /// Whether a truncated message was logged. This is logged only once.
    private var isCutSaid = false

    /// Makes a reader. `isReadySaid` says whether the keeper's earlier program has reported that luod is ready. `ready`
    /// reports that luod is ready. It is called once.
    init(
        _ rooms: KeeperRooms, _ updates: NextImageSupervisor, _ ending: KeeperEnding, isReadySaid: Bool,
        _ ready: @escaping () -> Void
    ) {
        self.rooms = rooms
        self.updates = updates
        self.ending = ending
        self.isReadySaid = isReadySaid
        self.ready = ready
    }

    private var link: ControlLink { rooms.orchestrator.current.link }

    // MARK: Reading

    /// Reads all messages of the orchestrator, also those that it sent before it died.
    ///
    /// - Parameter inReserve: whether the reading may use up the keeper's own descriptors.
    /// - Throws: StartFailure when the orchestrator cannot begin and nothing is held.
    func readAll(inReserve: Bool = false) throws {
        while true {
            guard rooms.shortage.canRead || inReserve || ending.isUnderWay else { return rooms.shortage.pauseReading() }
            let received: ControlLink.Received?
            do throws(SystemCallError) {
                received = try link.receive(.now)
            } catch {
                return
            }
            guard let received else { return ending.isUnderWay ? () : loseLink() }
            try handle(received)
        }
    }

    /// Reads all messages of a dead orchestrator. If there is no room for some time, the keeper uses up its own
    /// descriptors, because a user can make a close sleep for ever.
    ///
    /// - Throws: like ``readAll(inReserve:)``.
    func readRest() throws {
        try readAll()
        let deadline = milliseconds() + UInt64(StateDirectory.patience)
        while rooms.shortage.isReadingPaused, !rooms.shortage.canRead, milliseconds() < deadline {
            ending.pause(10, reading: self)
        }
        if rooms.shortage.isReadingPaused { try readAll(inReserve: true) }
        // The closer owns a copy of the link. Otherwise this thread would close the descriptors that are left in the
        // queue, and a close may sleep.
        if let copy = try? link.descriptor.duplicated() { rooms.vault.close(copy.release(), of: .max) }
    }

    private func handle(_ received: ControlLink.Received) throws {
        switch received.message {
        case .hello(let version) where !version.isOwn:
            try refuse(StartFailure(.unavailable, version.mismatch(of: rooms.orchestrator.image.path)))
        case .keep(let held): hold(held, received.descriptors)
        case .release(let slots): release(slots)
        case .update(.ready):
            rooms.kernel.noteService()
            rooms.holder?.end()
            noteReady()
        case .cannotBegin(let failure): try refuse(failure)
        case .refuses(let failure):
            rooms.log.say(
                "no orchestrator can begin, and what is held stays held: \(failure); clients get EIO until a luod takes "
                    + "over that can read the state (luoctl reload IMAGE)", .error)
            noteReady()
        case .publishAtEnd(let flags): ending.publishAtEnd(flags)
        case .holdUntilEnd:
            guard let session = received.descriptors.first else { return noteCut() }
            ending.holdUntilEnd(KernelSession(OwnedDescriptor(taking: session)))
            for other in received.descriptors.dropFirst() { rooms.vault.close(other, of: 0) }
        case .stop:
            ending.noteLog()
            if !ending.isUnderWay { ending.end(reading: self) }
        case .update(.answered): rooms.orchestrator.endRetired()
        default: handleUpdate(received)
        }
    }

    /// Handles the messages of an update, a load or a reload.
    private func handleUpdate(_ received: ControlLink.Received) {
        switch received.message {
        case .load(let path, let attempt):
            let image = path.isEmpty ? rooms.orchestrator.image.path : path
            updates.handle(.wants(.orchestrator, image: image, attempt: attempt))
        case .replaceKeeper(let path, let attempt):
            updates.handle(
                .wants(.keeper, image: path.isEmpty ? ProgramImage.ownPath().string : path, attempt: attempt))
        case .update(.prepare(let draft, let attempt)): updates.handle(.prepare(draft, attempt: attempt))
        case .update(.handOver(let what, let note, let attempt)):
            updates.handle(.handOver(what, note: note, attempt: attempt), received.descriptors)
            for descriptor in received.descriptors { try? closeDescriptor(descriptor) }
        case .update(.failed(_, let attempt)): updates.handle(.dismissed(attempt: attempt))
        default: for descriptor in received.descriptors { rooms.vault.close(descriptor, of: .max) }
        }
    }

    // MARK: Descriptors

    private func hold(_ held: HeldSlot, _ descriptors: [FileDescriptor]) {
        guard let descriptor = descriptors.first else { return noteCut() }
        for other in descriptors.dropFirst() { rooms.vault.close(other, of: held.label.user) }
        rooms.vault.keep(held, descriptor)
        rooms.service.note(held.slot)
        updates.tell(.hold([held]), [descriptor])
        if held.kind == .program { rooms.gate.serve((held, descriptor)) }
        report(CollectionOfOne(held.label.user))
    }

    private func release(_ slots: [DescriptorSlot]) {
        rooms.gate.forget(slots)
        report(rooms.vault.release(slots))
        for slot in slots { rooms.service.note(slot) }
        updates.tell(.release(slots))
        if rooms.starter.isUnused(rooms.vault) { ending.end(reading: self) }
    }

    private func report(_ users: some Sequence<UInt32>) {
        rooms.shortage.report(users, hasHandedOver: updates.isTakingOver)
    }

    /// Logs a truncated message. A shortage of descriptors is not the orchestrator's fault.
    private func noteCut() {
        if !isCutSaid {
            rooms.log.say("a descriptor could not be kept, because the limit on open files is reached", .warning)
        }
        isCutSaid = true
    }

    // MARK: Beginning and ending

    /// Notes that the orchestrator serves, or that it continues but refuses clients.
    func noteReady() {
        rooms.orchestrator.noteBegin()
        guard !isReadySaid else { return }
        isReadySaid = true
        rooms.log.say("luod serves", .info, rooms.settings.fields)
        ready()
        rooms.service.sayReady(process: getpid())
    }

    /// Ends luod if its orchestrator cannot begin and nothing is held. Otherwise luod continues and another
    /// orchestrator is started, because the end of luod would lose the held files.
    private func refuse(_ failure: StartFailure) throws {
        guard rooms.vault.holdsOnlyState else { return rooms.log.say("no orchestrator can begin: \(failure)", .error) }
        rooms.children.end(rooms.orchestrator.current)
        if rooms.settings.endsUnused { StateDirectory(rooms.settings.state).remove() }
        throw failure
    }

    /// Handles the end of the link. Either the orchestrator has died, and the descriptor of its process reports that
    /// next. Or the orchestrator has given up this keeper, which did not read for a second, and continues alone until
    /// another keeper replaces it.
    private func loseLink() {
        rooms.children.remove(link.descriptor)
        guard !rooms.orchestrator.current.process.waitForEnd(10_000) else { return }
        rooms.log.say(
            "the orchestrator goes on without this keeper, which did not read: start luod again, which takes the place",
            .warning)
        exitNow(1)
    }
}

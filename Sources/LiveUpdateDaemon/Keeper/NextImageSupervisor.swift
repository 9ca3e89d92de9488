// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateMachine
import LiveUpdatePlatform
import SystemPackage

/// Manages the next image: performs the actions that the ``UpdateBroker`` decides, and reports their results to it.
final class NextImageSupervisor {
    private let rooms: KeeperRooms
    private var broker: UpdateBroker
    /// The image that the broker has started.
    private var next: NextImage?
    /// The program that the keeper must become.
    private var replacement: Replacement?

    init(_ rooms: KeeperRooms) {
        self.rooms = rooms
        broker = UpdateBroker(patience: rooms.settings.patience)
    }

    /// A program that the keeper must become, and the orchestrator's number of this replacement.
    struct Replacement {
        var path: String
        var attempt: UInt32
    }

    /// The program that the keeper must become now. A second call returns nil.
    func takeReplacement() -> Replacement? {
        defer { replacement = nil }
        return replacement
    }

    // MARK: Turns of the keeper's loop

    /// The time when the current phase of an update must have ended, in milliseconds of CLOCK_MONOTONIC; nil if there
    /// is none.
    var deadline: UInt64? { broker.deadline }

    /// Whether no work is under way that must be quick: there is no image, or it waits.
    var isQuiet: Bool { broker.isQuiet }

    /// Whether an image takes over, for an update or a reload.
    var isTakingOver: Bool { broker.isTakingOver }

    /// Whether an image takes over for an update.
    var isEndingBoot: Bool { broker.phase == .takingOver(.update) }

    /// Calls off an update that takes too long.
    func handleDeadlines() { if broker.deadline != nil { handle(.timePassed) } }

    /// Reads the image's messages, or notes its end.
    ///
    /// - Returns: whether the descriptor belongs to the image.
    func take(_ number: CInt) -> Bool {
        switch number {
        case next?.process.link.descriptor.rawValue: read()
        case next?.process.ending.rawValue: noteEnd()
        default: return false
        }
        return true
    }

    /// Notes that the image has ended without an event.
    func noteSilentEnd() { if next?.process.process.hasEnded == true { noteEnd() } }

    /// Ends the image, with luod.
    func end() { if let next { rooms.children.end(next.process) } }

    // MARK: Events and actions

    /// Passes an event to the broker, and performs its actions. `descriptors` are the descriptors of the event, for the
    /// next image. The caller still owns them.
    func handle(_ event: UpdateBroker.Event, _ descriptors: [FileDescriptor] = []) {
        for action in broker.handle(event, at: milliseconds()) {
            // The actions after a failed one are not performed.
            if let failure = perform(action, descriptors) { return handle(failure) }
        }
    }

    /// - Returns: the event that the action causes; nil when there is none.
    private func perform(_ action: UpdateBroker.Action, _ descriptors: [FileDescriptor]) -> UpdateBroker.Event? {
        do throws(SystemCallError) {
            switch action {
            case .start(let path): return start(path)
            case .feed: try next?.feed(from: rooms.vault)
            case .tellNext(let message): try next?.ask(.update(message), descriptors)
            case .tellCurrent(let message): try? rooms.orchestrator.current.link.send(.update(message))
            case .announce(let formats, let attempt):
                guard let next else { return nil }
                try rooms.orchestrator.current.link.send(
                    .update(.standby(formats: formats, attempt: attempt)), [next.process.process.descriptor])
            case .endNext: endNext()
            case .switchOver: return switchOver()
            case .replaceKeeper(let path, let attempt): replacement = Replacement(path: path, attempt: attempt)
            }
            return nil
        } catch {
            return Self.failure(error)
        }
    }

    /// The event for a failed message to an image; nil when its process has ended, which is an event of its own.
    private static func failure(_ error: SystemCallError) -> UpdateBroker.Event? {
        guard error.errno != .brokenPipe else { return nil }
        return .unreachable(
            error.isShortage
                ? "the next image cannot be given all descriptors now: \(error)"
                : "the image does not keep up: \(error)")
    }

    private func start(_ path: String) -> UpdateBroker.Event? {
        rooms.orchestrator.endRetired()
        do {
            let started = try NextImage(
                at: path, rooms.settings, isStored: rooms.service.isStoring, nextSlot: rooms.vault.nextSlot)
            next = started
            try rooms.children.watch(started.process)
            return nil
        } catch {
            return .startFailed("\(error)")
        }
    }

    /// Tells a waiting image which descriptors are held and released meanwhile.
    func tell(_ message: ControlMessage, _ descriptors: [FileDescriptor] = []) {
        do throws(SystemCallError) {
            try next?.tell(message, descriptors)
        } catch {
            if let failure = Self.failure(error) { handle(failure) }
        }
    }

    private func read() {
        while let next {
            let received: ControlLink.Received?
            do throws(SystemCallError) {
                received = try next.process.link.receive(.now)
            } catch {
                return
            }
            guard let received else { return rooms.children.remove(next.process.link.descriptor) }
            for descriptor in received.descriptors { rooms.vault.close(descriptor, of: .max) }
            handle(event(of: received.message))
            guard self.next === next else { return }
        }
    }

    private func event(of message: ControlMessage) -> UpdateBroker.Event {
        switch message {
        case .hello(let version): .greeted(refusal: version.isOwn ? nil : version.mismatch(of: broker.image))
        case .update(let message): .said(message)
        default: .saidOther
        }
    }

    /// Handles the end of the next image's process.
    private func noteEnd() {
        // The image may have given the reason before it ended.
        read()
        if let next { handle(.ended(rooms.children.end(next.process))) }
    }

    private func endNext() {
        guard let next else { return }
        rooms.children.forget(next.process)
        rooms.children.end(next.process)
        self.next = nil
    }

    /// Switches to the next image, which is the commit: from here on only the next image is ever started again. The old
    /// orchestrator does nothing more. Its end would delay the answers of the next one, so it is ended later.
    private func switchOver() -> UpdateBroker.Event? {
        guard let next else { return nil }
        do throws(SystemCallError) {
            try next.process.link.send(.update(.go))
        } catch {
            return .unreachable("the image ended when it had taken over")
        }
        self.next = nil
        rooms.orchestrator.switchTo(next)
        rooms.shortage.beginAgain()
        return .switched
    }
}

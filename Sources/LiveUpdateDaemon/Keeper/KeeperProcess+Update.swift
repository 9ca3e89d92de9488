import LiveUpdate
import LiveUpdateMachine
import Platform
import SystemPackage

/// The keeper's part in an update: it performs what the ``UpdateBroker`` decides.
extension KeeperProcess {
    /// Has the broker decide, and performs it.
    ///
    /// - Parameter descriptors: those of the event, for the next image. They stay the caller's.
    func handle(_ event: UpdateBroker.Event, _ descriptors: [FileDescriptor] = []) {
        for action in broker.handle(event, at: milliseconds()) {
            // What comes after an action that has failed is not done.
            if let failure = perform(action, descriptors) { return handle(failure) }
        }
    }

    /// - Returns: the event that comes of the action; nil when none does.
    private func perform(_ action: UpdateBroker.Action, _ descriptors: [FileDescriptor]) -> UpdateBroker.Event? {
        do throws(SystemCallError) {
            switch action {
            case .start(let path): return start(path)
            case .feed: try next?.feed(from: table)
            case .tellNext(let message): try next?.ask(message, descriptors)
            case .tellCurrent(let message): try? current.link.send(message)
            case .announce(let formats, let attempt):
                guard let next else { return nil }
                try current.link.send(.standby(formats: formats, attempt: attempt), [next.process.process.descriptor])
            case .endNext: endNext()
            case .switchOver: return switchOver()
            case .replaceKeeper(let path, let attempt): replaceKeeper(by: path, attempt)
            }
            return nil
        } catch {
            return Self.failure(error)
        }
    }

    /// The failure to tell an image something; nil when its process has ended, which is an event of its own.
    private static func failure(_ error: SystemCallError) -> UpdateBroker.Event? {
        guard error.errno != .brokenPipe else { return nil }
        return .unreachable(
            error.isShortage
                ? "the next image cannot be given all descriptors now: \(error)"
                : "the image does not keep up: \(error)")
    }

    private func start(_ path: String) -> UpdateBroker.Event? {
        orchestrator.endRetired()
        do {
            let started = try NextImage(at: path, settings, isStored: isStored, nextSlot: table.nextSlot)
            next = started
            try children.watch(started.process)
            return nil
        } catch {
            return .startFailed("\(error)")
        }
    }

    /// Tells an image that waits what is held and released meanwhile.
    func tellNext(_ message: ControlMessage, _ descriptors: [FileDescriptor] = []) {
        do throws(SystemCallError) {
            try next?.tell(message, descriptors)
        } catch {
            if let failure = Self.failure(error) { handle(failure) }
        }
    }

    func readNext() {
        while let next {
            let received: ControlLink.Received?
            do throws(SystemCallError) {
                received = try next.process.link.receive(.now)
            } catch {
                return
            }
            guard let received else { return children.remove(next.process.link.descriptor) }
            for descriptor in received.descriptors { table.close(descriptor, of: .max) }
            handle(.said(received.message))
            guard self.next === next else { return }
        }
    }

    /// The process of the next image has ended, as an event said or a look at it.
    func noteEndOfNext() {
        // The image may have said why before it ended.
        readNext()
        if let next { handle(.ended(children.end(next.process))) }
    }

    private func endNext() {
        guard let next else { return }
        children.forget(next.process)
        children.end(next.process)
        self.next = nil
    }

    /// The commit: from here only the next one is ever started again. The old one does nothing any more, but its end takes
    /// the time that the next one needs to answer: so it is ended after that.
    private func switchOver() -> UpdateBroker.Event? {
        guard let next else { return nil }
        do throws(SystemCallError) {
            try next.process.link.send(.go)
        } catch {
            return .unreachable("the image ended when it had taken over")
        }
        orchestrator.switchTo(next)
        self.next = nil
        shortage.beginAgain()
        return .switched
    }
}

import LiveUpdate
import Platform
import SystemPackage

/// The keeper's part in an update. Until ``switchOver(_:)`` everything can be called off.
extension Keeper {
    /// Starts the next image in standby.
    func load(_ wanted: String) {
        endRetired()
        if let next {
            forget(next.orchestrating)
            next.orchestrating.end()
            self.next = nil
        }
        let path = wanted.isEmpty ? image : wanted
        do {
            let loading = try Orchestrating(starting: path, Self.arguments(settings))
            next = Next(orchestrating: loading, image: path, deadline: milliseconds() + settings.patience)
            try watch(loading)
            try table.handTo(loading, .standby)
        } catch {
            if next == nil {
                try? current.link.send(.failed("\(path) could not be started: \(error)"))
            } else {
                callOff("\(path) could not be started: \(error)")
            }
        }
    }

    /// What is kept and let go while it waits.
    func tellNext(_ message: ControlMessage, _ descriptors: [FileDescriptor]) {
        guard let next else { return }
        do throws(SystemCallError) {
            try next.orchestrating.link.send(message, descriptors)
        } catch {
            callOff("the image does not keep up: \(error)")
        }
    }

    func prepare(_ draft: Extent) { ask(.prepare(draft), .preparing) }

    func handOver(_ what: HandOver, _ note: [UInt8]) { ask(.handOver(what, note: note), .takingOver) }

    /// Tells the one that waits to do something, in its time.
    private func ask(_ message: ControlMessage, _ stage: Next.Stage) {
        guard next?.stage == .standby else {
            try? current.link.send(.failed("no image is loaded"))
            return
        }
        next?.stage = stage
        next?.deadline = milliseconds() + settings.patience
        tellNext(message, [])
    }

    func readNext() throws {
        while let next {
            let received: ControlLink.Received?
            do throws(SystemCallError) {
                received = try next.orchestrating.link.receive(.now)
            } catch {
                return
            }
            guard let received else { return poller.remove(next.orchestrating.link.descriptor) }
            for descriptor in received.descriptors { try? closeDescriptor(descriptor) }
            switch received.message {
            case .standby:
                self.next?.stage = .standby
                try? current.link.send(received.message, [next.orchestrating.process.descriptor])
            case .prepared where next.stage == .preparing:
                self.next?.stage = .standby
                try? current.link.send(.prepared)
            case .ready where next.stage == .takingOver: return switchOver(next)
            case .failed(let why): return callOff(why)
            default: return callOff("the image speaks another language")
            }
        }
    }

    /// The commit: from here only the next one is ever started again. The old one does nothing any more, but its end takes
    /// the time that the next one needs to answer: so it is ended after that.
    private func switchOver(_ next: Next) {
        do throws(SystemCallError) {
            try next.orchestrating.link.send(.go)
        } catch {
            return callOff("the image ended when it had taken over")
        }
        let old = current
        current = next.orchestrating
        image = next.image
        self.next = nil
        forget(old)
        endRetired()
        retired = old
    }

    /// Ends the one before the one that runs.
    func endRetired() {
        retired?.end()
        retired = nil
    }

    /// Ends the next image, waits until it is gone, and tells the one that runs.
    func callOff(_ why: String, silently: Bool = false) {
        guard let next else { return }
        forget(next.orchestrating)
        next.orchestrating.end()
        self.next = nil
        if !silently { try? current.link.send(.failed(why)) }
    }
}

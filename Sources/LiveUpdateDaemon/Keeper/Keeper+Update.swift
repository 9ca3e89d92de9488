import LiveUpdate
import LiveUpdateMachine
import Platform
import SystemPackage

/// The keeper's part in an update. Until ``switchOver(_:)`` everything can be called off.
extension Keeper {
    /// Starts the next image in standby.
    func load(_ wanted: String, _ attempt: UInt32) {
        endRetired()
        if let next {
            forget(next.orchestrating)
            end(next.orchestrating)
            self.next = nil
        }
        let path = wanted.isEmpty ? image.path : wanted
        do {
            let image = try KeptImage(at: path)
            let loading = try Orchestrating(starting: image.executable, .orchestrator, settings)
            next = Next(
                orchestrating: loading, image: image, attempt: attempt,
                deadline: milliseconds() + settings.patience)
            try watch(loading)
            // What is kept it gets when it reads: nobody waits for its start. One that has ended already is told of next.
            try? loading.link.send(.stored(isStored))
            try? loading.link.send(.begin(.standby, nextSlot: table.nextSlot))
        } catch {
            if next == nil {
                try? current.link.send(.failed("\(path) could not be started: \(error)", attempt: attempt))
            } else {
                callOff("\(path) could not be started: \(error)")
            }
        }
    }

    /// How long it may keep the keeper from hearing the orchestrator, in milliseconds: less than that waits for the keeper.
    private static let patienceWithNext = 300

    /// What is kept and let go while it waits. One that is behind gets the rest in ``catchUp()``.
    func tellNext(
        _ message: ControlMessage, _ descriptors: [FileDescriptor], _ note: (inout Set<DescriptorSlot>) -> Void
    ) {
        guard let next, !next.isBehind else { return }
        do throws(SystemCallError) {
            try next.orchestrating.link.send(message, descriptors, patience: 0)
            if var held = self.next?.held {
                self.next?.held = []
                note(&held)
                self.next?.held = held
            }
        } catch {
            if error.errno == .resourceTemporarilyUnavailable || error.isShortage {
                self.next?.isBehind = true
            } else {
                giveUp(error)
            }
        }
    }

    /// Gives up the next image. If its process has ended, the event of that says how.
    private func giveUp(_ error: SystemCallError) {
        guard error.errno != .brokenPipe else { return }
        callOff(
            error.isShortage
                ? "the next image cannot be given all descriptors now: \(error)"
                : "the image does not keep up: \(error)")
    }

    /// Tells the next image all that it was not told yet.
    private func catchUp() throws(SystemCallError) {
        guard let next else { return }
        let link = next.orchestrating.link
        if next.isBehind {
            let all = table.all
            let kept = Set(all.map(\.keep.slot))
            let gone = [DescriptorSlot](next.held.subtracting(kept))
            for batch in stride(from: 0, to: gone.count, by: 500) {
                let slots = [DescriptorSlot](gone[batch..<min(gone.count, batch + 500)])
                try link.send(.release(slots), patience: Self.patienceWithNext)
            }
            try link.send(
                holding: all.filter { !next.held.contains($0.keep.slot) }, patience: Self.patienceWithNext)
            self.next?.held = kept
            self.next?.isBehind = false
        }
        try link.send(.begin(.standby, nextSlot: table.nextSlot), patience: Self.patienceWithNext)
    }

    func prepare(_ draft: Extent, _ attempt: UInt32) {
        ask(.prepare(draft, attempt: attempt), attempt, .preparing)
    }

    func handOver(_ what: HandOver, _ note: [UInt8], _ attempt: UInt32, _ baton: [FileDescriptor]) {
        ask(.handOver(what, note: note, attempt: attempt), attempt, .takingOver(what), baton)
    }

    /// Tells the one that waits to do something, in its time.
    private func ask(
        _ message: ControlMessage, _ attempt: UInt32, _ stage: Next.Stage, _ descriptors: [FileDescriptor] = []
    ) {
        guard next?.stage == .standby, next?.attempt == attempt else {
            try? current.link.send(.failed("no image is loaded", attempt: attempt))
            return
        }
        next?.stage = stage
        next?.deadline = milliseconds() + settings.patience
        do throws(SystemCallError) {
            try catchUp()
            try next?.orchestrating.link.send(message, descriptors, patience: Self.patienceWithNext)
        } catch {
            giveUp(error)
        }
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
            for descriptor in received.descriptors { table.close(descriptor, of: .max) }
            switch received.message {
            case .hello(let version) where next.stage == .greeting:
                guard version.isOwn else { return callOff(version.mismatch(of: next.image.path)) }
                self.next?.stage = .loading
            case _ where next.stage == .greeting:
                return callOff("\(next.image.path) did not begin with its version: is it a luod of this version?")
            case .standby where next.stage == .loading:
                do throws(SystemCallError) {
                    self.next?.stage = .catchingUp
                    try catchUp()
                } catch {
                    return giveUp(error)
                }
            case .standby(let formats, _):
                self.next?.stage = .standby
                do throws(SystemCallError) {
                    try current.link.send(
                        .standby(formats: formats, attempt: next.attempt), [next.orchestrating.process.descriptor])
                } catch {
                    return giveUp(error)
                }
            case .prepared where next.stage == .preparing:
                self.next?.stage = .standby
                try? current.link.send(.prepared(attempt: next.attempt))
            case .ready:
                guard case .takingOver = next.stage else { return callOff("the image speaks another language") }
                return switchOver(next)
            case .failed(let why, _): return callOff(why)
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
        watchOfCurrent.beginAgain()
        noteBegin()
        shortage.beginAgain()
        endRetired()
        retired = old
    }

    /// Ends the one before the one that runs.
    func endRetired() {
        if let retired { end(retired) }
        retired = nil
    }

    /// Ends the next image, waits until it is gone, and tells the one that runs.
    func callOff(_ why: String, silently: Bool = false) {
        guard let next else { return }
        forget(next.orchestrating)
        end(next.orchestrating)
        self.next = nil
        if !silently { try? current.link.send(.failed(why, attempt: next.attempt)) }
    }
}

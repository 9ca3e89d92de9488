// SPDX-License-Identifier: Apache-2.0
import LiveUpdate
package import LiveUpdateCore
package import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// A run of a scenario through the real core, with real memory files, and with a real arena that has a journal and
/// trees. After every reboot a new core knows only the arena and the held descriptors.
package final class ScenarioRun {
    private let scenario: Scenario
    private let arena: OwnedDescriptor
    private let descriptors = InheritedDescriptors()
    private let files: [String: FileDescriptor]
    private let recorder: Recorder
    private let options: Arena.Options

    private var orchestrator = Orchestrator.disabled
    private var handlers: [String: ScenarioHandler] = [:]
    private var flbs: [String: ScenarioFLB] = [:]
    /// The FLBs that lent their incoming object in this boot. The core learns of an FLB without a handler only from
    /// its clients.
    private var lent: [ScenarioFLB] = []
    /// The open sessions, oldest first.
    private var open: [Session] = []

    /// Prepares a scenario in an arena of its own.
    ///
    /// - Throws: the errors of the system and of the arena: EMFILE, ENOSPC, ENOMEM.
    package init(_ scenario: Scenario, _ options: Arena.Options = Arena.Options()) throws {
        self.scenario = scenario
        self.options = options
        var files: [String: FileDescriptor] = [:]
        var names: [FileIdentity: String] = [:]
        for name in scenario.files.keys.sorted() {
            let file = try makeMemoryFile(named: name, size: 0)
            names[try FileStatus(of: file.borrowed).identity] = name
            files[name] = file.release()
        }
        self.files = files
        recorder = Recorder(names: names)
        let made = try Arena.make(options)
        arena = try withExtendedLifetime(made) { try made.descriptor.duplicated() }
        for name in scenario.flbs { flbs[name] = ScenarioFLB(name: name, recorder) }
        try boot(.nextBoot)
    }

    deinit {
        for slot in keptSlots { descriptors.release(slot) }
        for file in files.values { try? closeDescriptor(file) }
    }

    /// Starts a core on the arena.
    private func boot(_ opening: Orchestrator.Opening) throws(LiveUpdateError) {
        do throws(SystemCallError) {
            orchestrator = Orchestrator(
                arena: try openArena(try arena.borrowed.duplicated()), descriptors: descriptors, opening: opening)
        } catch {
            throw LiveUpdateError(error, "opening the arena")
        }
        for handler in scenario.handlers { handlers[handler.name] = make(handler) }
        for handler in scenario.handlers where !handler.name.hasSuffix("~x") {
            guard let object = handlers[handler.name] else { continue }
            try orchestrator.register(object)
            for flb in handler.flbs.compactMap({ flbs[$0] }) { try orchestrator.register(flb, on: object) }
        }
        try orchestrator.open()
    }

    private func openArena(_ descriptor: consuming OwnedDescriptor) throws(SystemCallError) -> Arena {
        do {
            return try Arena(opening: descriptor, options)
        } catch {
            throw SystemCallError("arena", error.errno)
        }
    }

    private func make(_ handler: Scenario.Handler) -> ScenarioHandler {
        let accepted = scenario.files.filter { $0.value == handler.name }.keys
        let identities = recorder.names.filter { accepted.contains($0.value) }.keys
        let fetched = scenario.handlersGetFLB ? handler.flbs.compactMap { flbs[$0] } : []
        return ScenarioHandler(name: handler.name, accepts: Set(identities), fetching: fetched, recorder)
    }

    /// Drops the core as a crash would, and makes another one on the arena. The same boot goes on.
    ///
    /// - Throws: an error when the arena cannot be read.
    package func crashAndRebuild() throws(LiveUpdateError) {
        let before = handlers
        let linked = try orchestrator.registrations()
        let names = open.map { ($0.name, $0.direction) }
        let arena = arenaOfDescriptor()
        orchestrator = Orchestrator(arena: try arena(), descriptors: descriptors, opening: .sameBoot)
        handlers = before
        for (handler, flbs) in linked {
            try orchestrator.register(handler)
            for flb in flbs { try orchestrator.register(flb, on: handler) }
        }
        try orchestrator.open()
        let sessions = try orchestrator.openSessions
        open = names.compactMap { name, direction in
            sessions.first { $0.name == name && $0.direction == direction }
        }
        // The clients borrow again after the crash. A finished FLB has no object to lend.
        for flb in lent { try? orchestrator.withIncoming(flb) { _ in } }
    }

    private func arenaOfDescriptor() -> () throws(LiveUpdateError) -> Arena {
        return { () throws(LiveUpdateError) in
            do throws(SystemCallError) {
                return try self.openArena(try self.arena.borrowed.duplicated())
            } catch {
                throw LiveUpdateError(error, "opening the arena")
            }
        }
    }

    /// Runs one step.
    package func run(step index: Int) -> (outcome: Outcome, expected: Outcome) {
        let step = scenario.steps[index]
        let kept = step.verb == .reboot ? keptSlots : []
        recorder.begin(step.inject)
        setOwners(step.inject, goingAway: true)
        var outcome = Outcome(ret: 0, calls: [])
        do throws(LiveUpdateError) {
            try perform(step, &outcome)
        } catch {
            outcome.ret = -error.errno.rawValue
        }
        setOwners(step.inject, goingAway: false)
        outcome.calls = recorder.calls
        if step.verb == .reboot && outcome.ret == 0 { bootNext(&outcome, kept: kept) }
        return (outcome, scenario.expect[index])
    }

    private func setOwners(_ faults: [String: Int32]?, goingAway: Bool) {
        for fault in (faults ?? [:]).keys where fault.hasSuffix(".owner") {
            let name = String(fault.dropLast(".owner".count))
            flbs[name]?.owner?.setGoingAway(goingAway)
            handlers[name]?.owner?.setGoingAway(goingAway)
        }
    }

    private var keptSlots: Set<DescriptorSlot> {
        Set(((try? orchestrator.status().sessions) ?? []).flatMap(\.files).map(\.slot))
    }

    private func bootNext(_ outcome: inout Outcome, kept: Set<DescriptorSlot>) {
        open = []
        lent = []
        do {
            try boot(.nextBoot)
        } catch {
            outcome.ret = -error.errno.rawValue
        }
        // An execve would close the descriptors of discarded sessions, but a run makes none.
        for slot in kept.subtracting(keptSlots) { descriptors.release(slot) }
    }

    private func perform(_ step: Scenario.Step, _ outcome: inout Outcome) throws(LiveUpdateError) {
        switch step.verb {
        case .create: open.append(try orchestrator.createSession(step.sessionName))
        case .retrieveSession: open.append(try orchestrator.retrieveSession(step.sessionName))
        case .preserve:
            let file = step.file.flatMap { files[$0] } ?? FileDescriptor(rawValue: -1)
            try session(step).preserve(file, token: step.token ?? 0)
        case .retrieve: outcome.file = try name(of: try session(step).retrieve(token: step.token ?? 0))
        case .finish: try session(step).finish()
        case .close:
            let session = try session(step)
            open.removeAll { $0 === session }
            try session.close()
        case .reboot: try orchestrator.publish(discardingUnfinished: true)
        case .getIncoming, .getOutgoing, .registerFLB, .unregisterFLB, .registerHandler, .unregisterHandler:
            try performOnFLB(step, &outcome)
        }
    }

    private func performOnFLB(_ step: Scenario.Step, _ outcome: inout Outcome) throws(LiveUpdateError) {
        let flb = step.flb.flatMap { flbs[$0] } ?? ScenarioFLB(name: "?", recorder)
        let handler = step.handler.flatMap { handlers[$0] } ?? make(Scenario.Handler(name: "?", flbs: []))
        switch step.verb {
        case .getIncoming:
            outcome.obj = try orchestrator.withIncoming(flb) { (data) throws(LiveUpdateError) in data }
            lent.append(flb)
        case .getOutgoing:
            outcome.obj = try orchestrator.withOutgoing(flb) { (data) throws(LiveUpdateError) in data ?? 0 }
        case .registerFLB:
            try orchestrator.register(flb, on: handler)
            if scenario.handlersGetFLB { handler.link(flb) }
        case .unregisterFLB:
            try orchestrator.unregister(flb, from: handler)
            handler.unlink(flb)
        case .registerHandler: try orchestrator.register(handler)
        case .unregisterHandler: try orchestrator.unregister(handler)
        default: preconditionFailure("not a step on an FLB")
        }
    }

    /// The newest open session with the name in a step.
    private func session(_ step: Scenario.Step) throws(LiveUpdateError) -> Session {
        guard let session = open.last(where: { $0.name == step.sessionName }) else {
            throw LiveUpdateError(.badFileDescriptor, "no open session \"\(step.sessionName)\"")
        }
        return session
    }

    private func name(of file: consuming OwnedDescriptor) throws(LiveUpdateError) -> String {
        let identity = try descriptors.identify(file.borrowed)
        return recorder.names[identity] ?? "?"
    }
}

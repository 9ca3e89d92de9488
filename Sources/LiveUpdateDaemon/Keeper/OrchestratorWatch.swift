// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import Logging
import SystemPackage

/// Watches the current orchestrator: whether it answers, and which requests ended it.
final class OrchestratorWatch {
    private let memory: ControlMemory
    private let log: Log
    private let patience: UInt64
    private var policy: HangPolicy
    private var nextLook: UInt64 = 0
    /// Whether the keeper ended the orchestrator because it did not answer.
    private var wasSilent = false

    /// Makes a watch through the memory that keeper and orchestrator share. `patience` is ``Settings/silence``.
    init(_ memory: ControlMemory, patience: UInt64, _ log: Log) {
        self.memory = memory
        self.log = log
        self.patience = patience
        policy = HangPolicy(patience: patience)
    }

    /// Begins again with another orchestrator.
    func beginAgain() {
        policy.beginAgain()
        wasSilent = false
    }

    /// Counts a turn of this process's loop, and looks at the orchestrator when it is time. `waitsForKeeper` says
    /// whether the orchestrator has handed over and only waits for this process.
    func tick(_ orchestrator: LinkedProcess, waitsForKeeper: Bool) {
        memory.tick(.keeper)
        let now = milliseconds()
        guard now >= nextLook else { return }
        nextLook = now + HangPolicy.interval
        guard !waitsForKeeper else { return policy.beginAgain() }
        let name = "the orchestrator (process \(orchestrator.process.id))"
        switch policy.look(memory.ticks(.orchestrator)) {
        case .nothing: break
        case .silent: log.say("\(name) has not answered for 2 s: clients wait", .warning)
        case .answers: log.say("\(name) answers again")
        case .end:
            log.say("\(name) has not answered for \(patience) ms, and is ended: another one is started", .warning)
            wasSilent = true
            orchestrator.process.kill()
        }
    }

    /// Counts the death of the orchestrator against the requests that were being done.
    ///
    /// - Parameters:
    ///   - status: how it ended; nil when that is not known, for example because an earlier keeper has started the
    ///     process.
    ///   - user: finds the user of the connection in a slot; nil for a connection that is not held any more.
    func countDeath(_ status: ExitStatus?, user: (DescriptorSlot) -> UInt32?) {
        memory.count(.death(.orchestrator, wasSilent ? .silence : Counter.DeathCause(status)))
        let requests = memory.takeRequests().compactMap { key in
            user(DescriptorSlot(key.slot)).map { (key: key, user: $0) }
        }
        guard !requests.isEmpty else { return }
        var deaths = memory.deaths
        let now = milliseconds()
        let paused = Set(deaths.pausing(at: now))
        deaths.note(requests, cause(status), at: now)
        memory.deaths = deaths
        for request in requests {
            log.say(
                "the orchestrator ended during a request of user \(request.user)", .warning,
                ["user": .number(request.user)])
            guard let count = deaths.endedTooMany(request.key) else { continue }
            log.say("\(count) orchestrators ended during that request: it is not done again (ECANCELED)", .warning)
        }
        for user in deaths.pausing(at: now) where !paused.contains(user) {
            log.say(
                "user \(user) is not served for a minute: too many orchestrators ended during the user's requests",
                .warning, ["user": .number(user)])
        }
    }

    /// The cause of an orchestrator's death.
    func cause(_ status: ExitStatus?) -> RequestDeaths.Cause {
        if wasSilent { return .fault }
        return status.map { RequestDeaths.Cause(signal: $0.signal, code: $0.code) } ?? .kill
    }
}

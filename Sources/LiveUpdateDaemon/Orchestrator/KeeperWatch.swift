// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import Logging
import SystemPackage

/// Watches the keeper. A keeper that does not answer is named in the log, and ended after a while.
///
/// After that, the orchestrator continues alone until another keeper replaces it.
final class KeeperWatch {
    private let memory: ControlMemory?
    private let log: Log
    private var policy: HangPolicy
    private var nextLook: UInt64 = 0

    /// Makes a watch through the memory that keeper and orchestrator share. Without the memory nothing is watched.
    /// `patience` is ``Settings/silence``.
    init(_ memory: ControlMemory?, patience: UInt64, _ log: Log) {
        self.memory = memory
        self.log = log
        policy = HangPolicy(patience: patience)
    }

    /// Whether the keeper does not answer.
    var isSilent: Bool { policy.isSilent }

    /// Counts a turn of this process's loop, and looks at the keeper when it is time.
    func tick(_ keeper: ControlLink?) {
        guard let memory else { return }
        memory.tick(.orchestrator)
        let now = milliseconds()
        guard now >= nextLook else { return }
        nextLook = now + HangPolicy.interval
        look(keeper, memory)
    }

    private func look(_ keeper: ControlLink?, _ memory: ControlMemory) {
        guard let keeper else { return policy.beginAgain() }
        switch policy.look(memory.ticks(.keeper)) {
        case .nothing: break
        case .silent: log.say("\(name(keeper)) has not answered for 2 s: serving goes on, and updates wait", .warning)
        case .answers: log.say("\(name(keeper)) answers again")
        case .end: end(keeper)
        }
    }

    private func end(_ keeper: ControlLink) {
        log.say("\(name(keeper)) does not answer, and is ended: start luod on this state to take its place", .warning)
        guard let number = try? keeper.descriptor.peer().process, !keeper.descriptor.hasHungUp,
            let process = try? RunningProcess(number)
        else { return }
        process.kill()
    }

    private func name(_ keeper: ControlLink) -> String {
        "the keeper (process \((try? keeper.descriptor.peer().process) ?? 0))"
    }

    /// Waits for a message as long as the keeper answers or lives.
    ///
    /// - Returns: nil when the keeper has gone.
    func receive(from keeper: ControlLink) -> ControlLink.Received? {
        guard memory != nil else { return try? keeper.receive(.waiting) }
        while !keeper.descriptor.isReadable(within: CInt(HangPolicy.interval)) { tick(keeper) }
        return try? keeper.receive(.waiting)
    }
}

// SPDX-License-Identifier: Apache-2.0
@testable import LiveUpdateCore

/// Arenas in the states that normal use leaves them in.
extension World {
    /// Calls `body` in each of these states, with the name of the state.
    package func inEachState(_ body: (String) throws -> Void) throws {
        try format()
        try body("formatted")
        let first = try boot(.nextBoot)
        try body("begun")
        try populate(first.orchestrator)
        try body("running")
        try first.orchestrator.createSession("closed").close()
        try first.orchestrator.publish()
        try body("published")

        let second = try boot(.nextBoot)
        try body("handed-over")
        try use(second)
        try body("in-between")
        try second.orchestrator.publish(discardingUnfinished: true)
        try body("discarding")

        let third = try boot(.nextBoot)
        try body("discarded")
        try third.orchestrator.finishDiscarded()
        for name: SessionName in ["new", "empty"] { try third.orchestrator.retrieveSession(name).finish() }
        try body("finished")
    }

    private func populate(_ orchestrator: Orchestrator) throws {
        let first = try orchestrator.createSession("first")
        try first.preserve(descriptors.files[0], token: 1)
        try first.preserve(descriptors.files[2], token: .max)
        let second = try orchestrator.createSession("second")
        try second.preserve(descriptors.files[1], token: 1)
        _ = try orchestrator.createSession("empty")
    }

    private func use(_ boot: Boot) throws {
        let first = try boot.orchestrator.retrieveSession("first")
        _ = try? first.retrieve(token: 1)
        try boot.orchestrator.withIncoming(boot.hugeTLB) { _ in }
        try boot.orchestrator.retrieveSession("second").close()
        _ = try boot.orchestrator.retrieveSession("empty")
        let new = try boot.orchestrator.createSession("new")
        try new.preserve(descriptors.files[3], token: 9)
        _ = try boot.orchestrator.createSession("empty")
    }
}

// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandover
import Testing

@testable import LiveUpdateDaemon

/// The state that a keeper hands to the program that replaces it.
@Suite struct KeeperStateTests {
    private static func state() -> KeeperState {
        let held = HeldSlot(
            slot: .init(7), kind: .session, label: DescriptorLabel(cookie: 8, user: 1000, boot: 3, traits: .hasArrived))
        return KeeperState(
            settings: Settings(state: "/s"), nextSlot: 99,
            entries: [.init(held: held, number: 70), .init(held: HeldSlot(slot: .init(8), kind: .arena), number: 71)],
            orchestrator: .init(id: 5, link: 72, handle: 73), image: "/i", imageFile: 74,
            gate: .init(process: .init(id: 6, link: 75, handle: 76), calls: 77),
            service: .init(socket: 78, stored: [held], stale: [held, held]), hasLostStarter: true, unreaped: [1, 2],
            publication: 33,
            attempt: 3)
    }

    @Test("The whole state is read back, and other bytes are not accepted") func codec() throws {
        let state = Self.state()
        #expect(try KeeperState(state.bytes) == state)
        #expect(Set(state.numbers) == Set(70...78))
        var plain = state
        (plain.gate, plain.service, plain.entries) = (nil, nil, [])
        #expect(try KeeperState(plain.bytes) == plain)
        #expect(Set(plain.numbers) == [72, 73, 74])
        for length in 0..<state.bytes.count {
            #expect(throws: ArenaError.self) { try KeeperState([UInt8](state.bytes.prefix(length))) }
        }
        #expect(throws: ArenaError.self) { try KeeperState(state.bytes + [0]) }
    }
}

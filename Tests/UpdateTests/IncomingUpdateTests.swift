// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import TestSupport
import Testing

@testable import LiveUpdateMachine

/// The next boot's side of an update: the result of every event in every phase.
@Suite struct IncomingUpdateTests {
    private typealias Phase = IncomingUpdate.Phase
    private typealias Action = IncomingUpdate.Action
    private typealias Event = IncomingUpdate.Event

    private static let events: [Event] = [
        .started, .told, .prepare, .handOver(.update, hasBaton: true), .handOver(.reload, hasBaton: true),
        .handOver(.update, hasBaton: false), .opened, .notOpened("why"), .go, .baton(isOurs: true),
        .baton(isOurs: false), .other, .linkLost, .dismissed,
    ]

    private enum Cell {
        case does([Action], Phase)
        case ignored
        /// The process ends without a message, and has changed nothing.
        case ends
    }

    /// The cells of a phase, in the order of ``events``.
    private static let table: [(Phase, [Cell])] = [
        (
            .starting,
            [
                .does([.sayStandby], .gathering), .ends, .ends, .ends, .ends, .ends, .ends, .ends, .ends, .ends, .ends,
                .ends, .ends, .ends,
            ]
        ),
        (
            .gathering,
            [
                .ends, .does([.sayStandby], .standby), .ends, .ends, .ends, .ends, .ends, .ends, .ends, .ends, .ends,
                .ignored, .ends, .ends,
            ]
        ),
        (
            .standby,
            [
                .ends, .ignored, .does([.prepare, .sayPrepared], .prepared),
                .does([.open(.update, onPrepared: false)], .opening(.update)),
                .does([.open(.reload, onPrepared: false)], .opening(.reload)), .ends, .ends, .ends, .ends, .ends,
                .ends, .ignored, .ends, .ends,
            ]
        ),
        (
            .prepared,
            [
                .ends, .ignored, .does([.prepare, .sayPrepared], .prepared),
                .does([.open(.update, onPrepared: true)], .opening(.update)),
                .does([.open(.reload, onPrepared: false)], .opening(.reload)), .ends, .ends, .ends, .ends, .ends,
                .ends, .ignored, .ends, .ends,
            ]
        ),
        (
            .opening(.update),
            [
                .ends, .ends, .ends, .ends, .ends, .ends, .does([.sayReady], .trial(.update)),
                .does([.sayFailed("why"), .exit], .ended), .ends, .ends, .ends, .ends, .ends, .ends,
            ]
        ),
        (
            .opening(.reload),
            [
                .ends, .ends, .ends, .ends, .ends, .ends, .does([.sayReady], .trial(.reload)),
                .does([.sayFailed("why"), .exit], .ended), .ends, .ends, .ends, .ends, .ends, .ends,
            ]
        ),
        (
            .trial(.update),
            [
                .ends, .ends, .ends, .ends, .ends, .ends, .ends, .ends, .does([.takeBaton], .trial(.update)),
                .does([.confirm, .resume, .sayAnswered, .serve], .tookOver), .ends, .ends, .ends, .ends,
            ]
        ),
        (
            .trial(.reload),
            [
                .ends, .ends, .ends, .ends, .ends, .ends, .ends, .ends, .does([.takeBaton], .trial(.reload)),
                .does([.resume, .sayAnswered, .serve], .tookOver), .ends, .ends, .ends, .ends,
            ]
        ),
        (.tookOver, [Cell](repeating: .ignored, count: events.count)),
        (.ended, [Cell](repeating: .ignored, count: events.count)),
    ]

    @Test("Every event in every phase has its actions and its next phase, is ignored, or ends the process")
    func everyCell() {
        for (phase, cells) in Self.table {
            #expect(cells.count == Self.events.count, "\(phase)")
            for (event, cell) in zip(Self.events, cells) {
                var machine = IncomingUpdate(in: phase)
                let actions = [Action](machine.handle(event))
                switch cell {
                case .does(let expected, let next):
                    #expect(actions == expected && machine.phase == next, "\(event) in \(phase): \(actions)")
                case .ignored:
                    #expect(actions.isEmpty && machine.phase == phase, "\(event) in \(phase): \(actions)")
                case .ends:
                    #expect(actions == [.exit] && machine.phase == .ended, "\(event) in \(phase): \(actions)")
                }
            }
        }
    }

    @Test("The image of an embedded service goes on alone with the state, with a draft and without one")
    func goesOnAlone() {
        for phase in [Phase.standby, .prepared] {
            var machine = IncomingUpdate(in: phase, goesOnAlone: true)
            let open = Action.open(.update, onPrepared: phase == .prepared)
            #expect([Action](machine.handle(.linkLost)) == [open] && machine.phase == .opening(.update))
            #expect([Action](machine.handle(.opened)) == [.sayReady])
            #expect([Action](machine.handle(.linkLost)) == [.takeBaton] && machine.phase == .trial(.update))
            var refused = machine
            #expect([Action](machine.handle(.baton(isOurs: true))) == [.confirm, .resume, .sayAnswered, .serve])
            #expect([Action](refused.handle(.baton(isOurs: false))) == [.exit])
        }
    }

    @Test("An image that has not got everything, or is not wanted, does not go on alone") func endsAlone() {
        for phase in [Phase.starting, .gathering, .opening(.update)] {
            var machine = IncomingUpdate(in: phase, goesOnAlone: true)
            #expect([Action](machine.handle(.linkLost)) == [.exit] && machine.phase == .ended, "\(phase)")
        }
        for phase in [Phase.standby, .prepared, .trial(.update)] {
            var machine = IncomingUpdate(in: phase, goesOnAlone: true)
            #expect([Action](machine.handle(.dismissed)) == [.exit] && machine.phase == .ended, "\(phase)")
        }
    }

    @Test("Only one boot gets the baton") func baton() throws {
        let old = try CommitBaton.make()
        let next = CommitBaton(try old.descriptor.duplicated())
        #expect(next.take())
        #expect(!old.take() && !next.take())
    }

    @Test("A note is read back as it was written, and other bytes do not crash the reader") func note() {
        let note = HandOverNote(
            RequestID(connection: DescriptorSlot(7), tag: .max), times: [1, .max], cost: "session \"s\": unfinished")
        #expect(HandOverNote(note.bytes) == note)
        for count in 0..<16 { #expect(HandOverNote([UInt8](note.bytes.prefix(count))) == nil) }
        var random = SeededGenerator(seed: announcedSeed("IncomingUpdateTests"))
        for _ in 0..<10_000 {
            var bytes = note.bytes
            bytes[random.index(below: bytes.count)] = UInt8.random(in: 0...255, using: &random)
            _ = HandOverNote([UInt8](bytes.prefix(random.index(below: bytes.count))))
        }
    }
}

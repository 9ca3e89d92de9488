// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import Testing

@testable import LiveUpdateMachine

/// The part between the two boots in an update: each event in each phase.
@Suite struct UpdateBrokerTests {
    private typealias Event = UpdateBroker.Event
    private typealias Action = UpdateBroker.Action

    private static let draft = Extent(offset: 64, length: 8)
    private static let patience: UInt64 = 5000

    /// The events that lead to each phase from the one before. The image is "/i", and its attempt is 1.
    private static let steps: [Event] = [
        .wants(.orchestrator, image: "/i", attempt: 1), .greeted(refusal: nil), .said(.standby(formats: [])),
        .said(.standby(formats: ["f"])),
    ]

    enum Name: String, CaseIterable, Sendable {
        case idle, greeting, loading, catchingUp, standby, preparing, takingOver, answering

        /// The phases of luod's keeper.
        static var keepers: [Name] { allCases.dropLast() }
    }

    private static func broker(_ name: Name, at now: UInt64 = 1000) -> UpdateBroker {
        var broker = UpdateBroker(patience: patience)
        let count = min(Name.allCases.firstIndex(of: name) ?? 0, steps.count)
        for step in steps.prefix(count) { _ = broker.handle(step, at: now) }
        if name == .preparing { _ = broker.handle(.prepare(draft, attempt: 1), at: now) }
        if name == .takingOver { _ = broker.handle(.handOver(.update, note: [7], attempt: 1), at: now) }
        return broker
    }

    private static func name(_ phase: UpdateBroker.Phase) -> Name {
        switch phase {
        case .idle: .idle
        case .greeting: .greeting
        case .loading: .loading
        case .catchingUp: .catchingUp
        case .standby: .standby
        case .preparing: .preparing
        case .takingOver: .takingOver
        case .answering: .answering
        }
    }

    /// The actions as text.
    private static func words(_ actions: [Action]) -> String {
        actions.map { action in
            switch action {
            case .start(let path): "start \(path)"
            case .feed: "feed"
            case .tellNext(.prepare(draft, attempt: 1)): "prepare"
            case .tellNext(.handOver(.update, note: [7], attempt: 1)): "hand over"
            case .tellCurrent(.failed("no image is loaded", _)): "none"
            case .tellCurrent(.failed(_, attempt: 1)): "failed"
            case .tellCurrent(.prepared(attempt: 1)): "prepared"
            case .announce(formats: ["f"], attempt: 1): "announce"
            case .endNext: "end"
            case .switchOver: "switch"
            case .replaceKeeper("/k", attempt: 2): "replace"
            default: "unexpected: \(action)"
            }
        }.joined(separator: ", ")
    }

    /// For each event, the actions in each phase, and the next phase if it differs: "actions > phase".
    private static let table: [(Event, [String])] = {
        let off = "end, failed > idle"
        let drop = "end > idle"
        let restart = "end, start /j > greeting"
        let restartForKeeper = "end, start /k > greeting"
        return [
            //                     idle, greeting, loading, catchingUp, standby, preparing, takingOver
            (
                .wants(.orchestrator, image: "/j", attempt: 2),
                ["start /j > greeting", "end, start /j", restart, restart, restart, restart, restart]
            ),
            (
                .wants(.keeper, image: "/k", attempt: 2),
                ["start /k > greeting", "end, start /k"] + [String](repeating: restartForKeeper, count: 5)
            ),
            (
                .prepare(draft, attempt: 1),
                ["none", "none", "none", "none", "feed, prepare > preparing", "none", "none"]
            ),
            (.prepare(draft, attempt: 9), [String](repeating: "none", count: 7)),
            (
                .handOver(.update, note: [7], attempt: 1),
                ["none", "none", "none", "none", "feed, hand over > takingOver", "none", "none"]
            ),
            (.handOver(.update, note: [7], attempt: 9), [String](repeating: "none", count: 7)),
            (.dismissed(attempt: 1), ["", drop, drop, drop, drop, drop, drop]),
            (.dismissed(attempt: 9), [String](repeating: "", count: 7)),
            (.greeted(refusal: nil), ["", " > loading", off, off, off, off, off]),
            (.greeted(refusal: "why"), ["", off, off, off, off, off, off]),
            (
                .said(.standby(formats: ["f"])),
                ["", off, "feed > catchingUp", "announce > standby", "announce", off, off]
            ),
            (.said(.prepared()), ["", off, off, off, off, "prepared > standby", off]),
            (.said(.ready), ["", off, off, off, off, off, "switch"]),
            (.said(.failed("why")), ["", off, off, off, off, off, off]),
            (.said(.answered), ["", off, off, off, off, off, off]),
            (.saidOther, ["", off, off, off, off, off, off]),
            (.startFailed("why"), ["", off, off, off, off, off, off]),
            (.unreachable("why"), ["", off, off, off, off, off, off]),
            (.ended("signal 9"), ["", off, off, off, off, off, off]),
            (.orchestratorDied, ["", drop, drop, drop, drop, drop, drop]),
        ]
    }()

    @Test("Each event in each phase", arguments: Name.keepers) func everything(phase: Name) throws {
        let column = try #require(Name.allCases.firstIndex(of: phase))
        for (event, expected) in Self.table {
            var broker = Self.broker(phase)
            #expect(Self.name(broker.phase) == phase)
            let words = Self.words(broker.handle(event, at: 2000))
            let next = Self.name(broker.phase)
            #expect((next == phase ? words : "\(words) > \(next)") == expected[column], "\(event)")
        }
    }

    @Test("A phase that lasts too long is called off, except idle and standby", arguments: Name.keepers)
    func deadlines(phase: Name) {
        var broker = Self.broker(phase, at: 1000)
        let lasts = phase == .idle || phase == .standby
        #expect(broker.isQuiet == lasts && (broker.deadline == nil) == lasts)
        #expect(broker.handle(.timePassed, at: 1000 + Self.patience - 1).isEmpty)
        let words = Self.words(broker.handle(.timePassed, at: 1000 + Self.patience))
        #expect(words == (lasts ? "" : "end, failed"))
        #expect(broker.handle(.timePassed, at: .max).isEmpty)
    }

    @Test("Preparing and taking over have their own time limits") func newDeadlines() {
        var broker = Self.broker(.standby, at: 1000)
        _ = broker.handle(.prepare(Self.draft, attempt: 1), at: 9000)
        #expect(broker.deadline == 9000 + Self.patience)
        _ = broker.handle(.said(.prepared()), at: 9001)
        _ = broker.handle(.handOver(.reload, note: [], attempt: 1), at: 20_000)
        #expect(
            broker.deadline == 20_000 + Self.patience && broker.phase == .takingOver(.reload) && broker.isTakingOver)
    }

    @Test("After the switch there is no next image, and a failed switch is called off") func switching() {
        var broker = Self.broker(.takingOver)
        #expect(broker.handle(.said(.ready), at: 2000) == [.switchOver])
        var failed = broker
        #expect(broker.handle(.switched, at: 2000).isEmpty && broker.phase == .idle)
        #expect(Self.words(failed.handle(.unreachable("gone"), at: 2000)) == "end, failed" && failed.phase == .idle)
    }

    @Test("An image for the keeper only reports its version, and ends before the keeper runs it") func keeper() {
        var broker = Self.broker(.idle)
        _ = broker.handle(.wants(.keeper, image: "/k", attempt: 2), at: 1000)
        var refused = broker
        var ended = broker
        #expect(Self.words(broker.handle(.greeted(refusal: nil), at: 1001)) == "end, replace" && broker.phase == .idle)
        let actions = refused.handle(.greeted(refusal: "another version"), at: 1001)
        #expect(actions.last == .tellCurrent(.failed("another version", attempt: 2)) && refused.phase == .idle)
        #expect(ended.handle(.ended("exit code 1"), at: 1001).count == 2)
    }

    @Test("Reasons name the image, the phase and the remedy") func reasons() {
        func why(_ phase: Name, _ event: Event, at now: UInt64 = 1001) -> String {
            var broker = Self.broker(phase)
            for case .tellCurrent(.failed(let why, _)) in broker.handle(event, at: now) { return why }
            return ""
        }
        #expect(why(.greeting, .said(.ready)).hasPrefix("/i did not begin with its version: is it a luod"))
        #expect(why(.preparing, .saidOther).contains("when it should prepare itself: is it a luod"))
        #expect(why(.preparing, .said(.ready)).contains("when it should prepare itself"))
        #expect(why(.takingOver, .timePassed, at: .max) == "the image did not take over in time")
        #expect(why(.greeting, .startFailed("ENOENT")) == "/i could not be started: ENOENT")
        #expect(why(.standby, .ended("signal 9")) == "the image ended: signal 9")
        #expect(why(.takingOver, .said(.failed("no room"))) == "no room")
    }

    // MARK: An embedded service

    /// The old process is the carrier, and the image was told to go.
    private static func answering(at now: UInt64) -> UpdateBroker {
        var broker = UpdateBroker(patience: patience, in: .oldBoot)
        for step in steps + [.handOver(.update, note: [], attempt: 1), .said(.ready), .switched] {
            _ = broker.handle(step, at: now)
        }
        return broker
    }

    @Test("An embedded service waits for the answer after the switch, and not for ever") func answer() {
        var broker = Self.answering(at: 1000)
        #expect(broker.phase == .answering(.update) && broker.deadline == 1000 + Self.patience)
        var late = broker
        #expect(broker.handle(.said(.answered), at: 1001) == [.tellCurrent(.answered)] && broker.phase == .idle)
        #expect(Self.words(late.handle(.timePassed, at: 1000 + Self.patience)) == "end, failed" && late.phase == .idle)
    }

    @Test(
        "An image that fails after the switch and before its answer is called off",
        arguments: [
            .ended("signal 9"), .said(.failed("why")), .said(.ready), .unreachable("gone"), .saidOther,
        ] as [UpdateBroker.Event])
    func failedAnswer(event: UpdateBroker.Event) {
        var broker = Self.answering(at: 1000)
        #expect(Self.words(broker.handle(event, at: 1001)) == "end, failed" && broker.phase == .idle)
    }

    @Test("An image that is no UpdatableProcess gets another question") func question() {
        var broker = UpdateBroker(patience: Self.patience, in: .oldBoot)
        _ = broker.handle(Self.steps[0], at: 1000)
        guard case .tellCurrent(.failed(let why, _)) = broker.handle(.said(.ready), at: 1001).last else {
            Issue.record("it was not called off")
            return
        }
        #expect(why.hasSuffix("does it begin an UpdatableProcess of this version?"))
    }
}

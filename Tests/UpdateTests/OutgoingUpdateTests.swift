// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import LiveUpdateMachine

/// The old boot's side of an update: the result of every event in every phase.
@Suite struct OutgoingUpdateTests {
    private typealias Phase = OutgoingUpdate.Phase
    private typealias Action = OutgoingUpdate.Action

    @Test("A reload of the keeper ends a waiting image, and finishes when the keeper reports success or failure")
    func keeper() {
        for phase in [Phase.idle, .loaded(["a"], for: nil)] {
            var machine = OutgoingUpdate(in: phase, attempt: 5)
            var request = UpdateRequest(.reloadKeeper)
            request.image = "/k"
            #expect(
                machine.handle(.requested(request)).map { $0 } == [.accept, .replaceKeeper(image: "/k", attempt: 6)])
            #expect(machine.phase == .loading(request))
            var failed = machine
            #expect(machine.handle(.keeperReplaced(attempt: 5)).map { $0 }.isEmpty, "of an earlier request")
            #expect(machine.handle(.keeperReplaced(attempt: 6)).map { $0 } == [.succeed] && machine.phase == .idle)
            #expect(
                failed.handle(.imageFailed("why", attempt: 6)).map { $0 } == [.fail(UpdateRefusal(.image, "why"))]
                    && failed.phase == .idle)
        }
        var machine = OutgoingUpdate(in: .loading(UpdateRequest(.update)), attempt: 5)
        #expect(machine.handle(.keeperReplaced(attempt: 5)).map { $0 }.isEmpty)
        #expect(machine.phase == .loading(UpdateRequest(.update)), "not what was asked for")
    }

    @Test("The answer of the image ends the old boot of an embedded service, after the hand-over only") func answered()
    {
        var machine = OutgoingUpdate(in: .handedOver(UpdateRequest(.update)), attempt: 5)
        #expect(machine.handle(.imageAnswered(attempt: 4)).isEmpty, "the answer of an earlier image")
        #expect(machine.handle(.imageAnswered(attempt: 5)).map { $0 } == [.exit] && machine.phase == .idle)
        var early = OutgoingUpdate(in: .loading(UpdateRequest(.load)), attempt: 5)
        #expect(early.handle(.imageAnswered(attempt: 5)).isEmpty && early.phase == .loading(UpdateRequest(.load)))
    }

    /// All events, in each variant that makes a difference.
    private enum Name: CaseIterable {
        case load, update, reload, updateToImage, updateLeavingOut
        case standby, standbyOfEarlier, prepared, preparedOfEarlier, failed, failedOfEarlier, keeperLost
        case knownFormats, unknownFormat, assessed, obstacles, notDrafted, draftIsCurrent, draftIsStale
        case noSubscribers, ready, notReady
        case published, notPublished, notTold, batonIsOurs, batonIsTheirs

        var event: OutgoingUpdate.Event {
            switch self {
            case .load: .requested(.load)
            case .update: .requested(.update)
            case .reload: .requested(.reload)
            case .updateToImage: .requested(.updateToImage)
            case .updateLeavingOut: .requested(.updateLeavingOut)
            case .standby: .standby(["b"], attempt: 5)
            case .standbyOfEarlier: .standby(["b"], attempt: 4)
            case .prepared: .prepared(attempt: 5)
            case .preparedOfEarlier: .prepared(attempt: 4)
            case .failed: .imageFailed("why", attempt: 5)
            case .failedOfEarlier: .imageFailed("why", attempt: 4)
            case .keeperLost: .keeperLost
            case .knownFormats: .formatsInUse(["a", "a"])
            case .unknownFormat: .formatsInUse(["z", "a", "y"])
            case .assessed: .assessed(nil)
            case .obstacles: .assessed(.obstacles)
            case .notDrafted: .notDrafted
            case .draftIsCurrent: .draftChecked(isCurrent: true)
            case .draftIsStale: .draftChecked(isCurrent: false)
            case .noSubscribers: .noSubscribers
            case .ready: .asked(nil)
            case .notReady: .asked(.notReady)
            case .published: .published
            case .notPublished: .notPublished(.obstacles)
            case .notTold: .notTold("why")
            case .batonIsOurs: .baton(isOurs: true)
            case .batonIsTheirs: .baton(isOurs: false)
            }
        }
    }

    /// The results of all events in one phase. An event without a cell in the row fails the test.
    private struct Row {
        let phase: Phase
        let cells: [Name: (actions: [Action], next: Phase)]
        let ignored: Set<Name>
        /// A second request is refused, and changes nothing.
        let isBusy: Bool

        init(
            _ phase: Phase, _ cells: [Name: ([Action], Phase)], ignored: Set<Name>, isBusy: Bool = true
        ) {
            self.phase = phase
            self.cells = cells.mapValues { ($0.0, $0.1) }
            self.ignored = ignored
            self.isBusy = isBusy
        }
    }

    /// Messages about an earlier image are ignored in every phase.
    private static let ofEarlier: Set<Name> = [.standbyOfEarlier, .preparedOfEarlier, .failedOfEarlier]
    private static let requests: Set<Name> = [.load, .update, .reload, .updateToImage, .updateLeavingOut]
    private static let assessing: Set<Name> = [.assessed, .obstacles]
    private static let drafting: Set<Name> = [.notDrafted, .draftIsCurrent, .draftIsStale]
    private static let asking: Set<Name> = [.noSubscribers, .ready, .notReady]
    private static let publishing: Set<Name> = [.published, .notPublished]
    private static let batons: Set<Name> = [.batonIsOurs, .batonIsTheirs]
    private static let formats: Set<Name> = [.knownFormats, .unknownFormat]

    private static let callOff = Action.callOff("it does not know \"y\"", attempt: 5)
    private static let unknown = Action.fail(
        UpdateRefusal(.image, "the image does not know \"y\", which is in use"))
    private static let imageFailed = Action.fail(UpdateRefusal(.image, "why"))
    private static let calledOff = Action.fail(UpdateRefusal(.calledOff, "why"))
    private static let notTold = Action.fail(UpdateRefusal(.alone, "why"))
    private static let keeperDied = Action.fail(
        UpdateRefusal(
            .alone, "the keeper died\nremedy: start luod on this state, which takes its place, and ask again"))
    private static let twice = "the image said again that it waits"

    private static var rows: [Row] {
        [
            Row(
                .idle,
                [
                    .load: ([.accept, .load(image: "", attempt: 6)], .loading(.load)),
                    .update: ([.accept, .load(image: "", attempt: 6)], .loading(.update)),
                    .reload: ([.accept, .load(image: "", attempt: 6)], .loading(.reload)),
                    .updateToImage: ([.accept, .load(image: "/x", attempt: 6)], .loading(.updateToImage)),
                    .updateLeavingOut: ([.accept, .load(image: "", attempt: 6)], .loading(.updateLeavingOut)),
                    .keeperLost: ([.goOnAlone], .idle),
                ],
                ignored: [.standby, .prepared, .failed, .notTold] + formats + assessing + drafting + asking + publishing
                    + batons, isBusy: false),
            Row(
                .loading(.update),
                [
                    .standby: ([.readFormats], .loaded(["b"], for: .update)),
                    .failed: ([imageFailed], .idle),
                    .notTold: ([notTold], .idle),
                    .keeperLost: ([.goOnAlone, keeperDied], .idle),
                ], ignored: [.prepared] + formats + assessing + drafting + asking + publishing + batons),
            Row(
                .loaded(["a"], for: nil),
                [
                    .load: ([.accept, .load(image: "", attempt: 6)], .loading(.load)),
                    .update: ([.accept, .readFormats], .loaded(["a"], for: .update)),
                    .reload: ([.accept, .readFormats], .loaded(["a"], for: .reload)),
                    .updateToImage: ([.accept, .load(image: "/x", attempt: 6)], .loading(.updateToImage)),
                    .updateLeavingOut: ([.accept, .readFormats], .loaded(["a"], for: .updateLeavingOut)),
                    .failed: ([], .idle),
                    .keeperLost: ([.goOnAlone], .idle),
                ],
                ignored: [.standby, .prepared, .notTold] + formats + assessing + drafting + asking + publishing
                    + batons,
                isBusy: false),
            Row(
                .loaded(["a"], for: .load),
                [
                    .knownFormats: ([.succeed], .loaded(["a"], for: nil)),
                    .unknownFormat: ([callOff, unknown], .idle),
                    .failed: ([imageFailed], .idle),
                    .keeperLost: ([.goOnAlone, keeperDied], .idle),
                ], ignored: [.standby, .prepared, .notTold] + assessing + drafting + asking + publishing + batons),
            Row(
                .loaded(["a"], for: .update),
                [
                    .knownFormats: ([.assess(discards: false, leavesOut: false)], .loaded(["a"], for: .update)),
                    .unknownFormat: ([callOff, unknown], .idle),
                    .assessed: (
                        [.prepare(leavesOut: false, attempt: 5)], .preparing(["a"], for: .update, tries: 1)
                    ),
                    .obstacles: ([.fail(.obstacles)], .loaded(["a"], for: nil)),
                    .failed: ([imageFailed], .idle),
                    .keeperLost: ([.goOnAlone, keeperDied], .idle),
                ], ignored: [.standby, .prepared, .notTold] + drafting + asking + publishing + batons),
            Row(
                .loaded(["a"], for: .updateLeavingOut),
                [
                    .knownFormats: (
                        [.assess(discards: true, leavesOut: true)], .loaded(["a"], for: .updateLeavingOut)
                    ),
                    .unknownFormat: ([callOff, unknown], .idle),
                    .assessed: (
                        [.prepare(leavesOut: true, attempt: 5)], .preparing(["a"], for: .updateLeavingOut, tries: 1)
                    ),
                    .obstacles: (
                        [.prepare(leavesOut: true, attempt: 5)], .preparing(["a"], for: .updateLeavingOut, tries: 1)
                    ),
                    .failed: ([imageFailed], .idle),
                    .keeperLost: ([.goOnAlone, keeperDied], .idle),
                ], ignored: [.standby, .prepared, .notTold] + drafting + asking + publishing + batons),
            Row(
                .loaded(["a"], for: .reload),
                [
                    .knownFormats: ([.handOver(.reload, attempt: 5)], .handedOver(.reload)),
                    .unknownFormat: ([callOff, unknown], .idle),
                    .failed: ([imageFailed], .idle),
                    .keeperLost: ([.goOnAlone, keeperDied], .idle),
                ], ignored: [.standby, .prepared, .notTold] + assessing + drafting + asking + publishing + batons),
            Row(
                .preparing(["a"], for: .update, tries: 1),
                [
                    .prepared: ([.checkDraft], .preparing(["a"], for: .update, tries: 1)),
                    .draftIsCurrent: ([.ask], .asking(["a"], for: .update)),
                    .draftIsStale: ([.readFormats], .preparing(["a"], for: .update, tries: 1)),
                    .knownFormats: (
                        [.prepare(leavesOut: false, attempt: 5)], .preparing(["a"], for: .update, tries: 2)
                    ),
                    .unknownFormat: ([callOff, .discardDraft, unknown], .idle),
                    .notDrafted: ([.ask], .asking(["a"], for: .update)),
                    .standby: (
                        [
                            .callOff(twice, attempt: 5), .discardDraft, .fail(UpdateRefusal(.image, twice)),
                        ], .idle
                    ),
                    .failed: ([.discardDraft, imageFailed], .idle),
                    .notTold: ([.discardDraft, notTold], .idle),
                    .keeperLost: ([.goOnAlone, .discardDraft, keeperDied], .idle),
                ], ignored: assessing + asking + publishing + batons),
            Row(
                .preparing(["a"], for: .updateLeavingOut, tries: 3),
                [
                    .prepared: ([.checkDraft], .preparing(["a"], for: .updateLeavingOut, tries: 3)),
                    .draftIsCurrent: ([.ask], .asking(["a"], for: .updateLeavingOut)),
                    .draftIsStale: ([.readFormats], .preparing(["a"], for: .updateLeavingOut, tries: 3)),
                    .knownFormats: ([.ask], .asking(["a"], for: .updateLeavingOut)),
                    .unknownFormat: ([callOff, .discardDraft, unknown], .idle),
                    .notDrafted: ([.ask], .asking(["a"], for: .updateLeavingOut)),
                    .standby: (
                        [
                            .callOff(twice, attempt: 5), .discardDraft, .fail(UpdateRefusal(.image, twice)),
                        ], .idle
                    ),
                    .failed: ([.discardDraft, imageFailed], .idle),
                    .notTold: ([.discardDraft, notTold], .idle),
                    .keeperLost: ([.goOnAlone, .discardDraft, keeperDied], .idle),
                ], ignored: assessing + asking + publishing + batons),
            Row(
                .asking(["a"], for: .update),
                [
                    .noSubscribers: ([.publish(discards: false, leavesOut: false)], .publishing(["a"], for: .update)),
                    .ready: ([.checkDraft], .preparing(["a"], for: .update, tries: 0, hasAsked: true)),
                    .notReady: ([.discardDraft, .fail(.notReady)], .loaded(["a"], for: nil)),
                    .standby: (
                        [
                            .callOff(twice, attempt: 5), .discardDraft, .fail(UpdateRefusal(.image, twice)),
                        ], .idle
                    ),
                    .failed: ([.discardDraft, imageFailed], .idle),
                    .notTold: ([.discardDraft, notTold], .idle),
                    .keeperLost: ([.goOnAlone, .discardDraft, keeperDied], .idle),
                ], ignored: [.prepared] + formats + assessing + drafting + publishing + batons),
            Row(
                .asking(["a"], for: .updateWithoutReady),
                [
                    .noSubscribers: (
                        [.publish(discards: false, leavesOut: false)], .publishing(["a"], for: .updateWithoutReady)
                    ),
                    .ready: ([.checkDraft], .preparing(["a"], for: .updateWithoutReady, tries: 0, hasAsked: true)),
                    .notReady: ([.checkDraft], .preparing(["a"], for: .updateWithoutReady, tries: 0, hasAsked: true)),
                    .standby: (
                        [
                            .callOff(twice, attempt: 5), .discardDraft, .fail(UpdateRefusal(.image, twice)),
                        ], .idle
                    ),
                    .failed: ([.discardDraft, imageFailed], .idle),
                    .notTold: ([.discardDraft, notTold], .idle),
                    .keeperLost: ([.goOnAlone, .discardDraft, keeperDied], .idle),
                ], ignored: [.prepared] + formats + assessing + drafting + publishing + batons),
            Row(
                .preparing(["a"], for: .update, tries: 0, hasAsked: true),
                [
                    .prepared: ([.checkDraft], .preparing(["a"], for: .update, tries: 0, hasAsked: true)),
                    .draftIsCurrent: (
                        [.publish(discards: false, leavesOut: false)], .publishing(["a"], for: .update)
                    ),
                    .draftIsStale: ([.readFormats], .preparing(["a"], for: .update, tries: 0, hasAsked: true)),
                    .knownFormats: (
                        [.prepare(leavesOut: false, attempt: 5)],
                        .preparing(["a"], for: .update, tries: 1, hasAsked: true)
                    ),
                    .unknownFormat: ([callOff, .discardDraft, unknown], .idle),
                    .notDrafted: ([.publish(discards: false, leavesOut: false)], .publishing(["a"], for: .update)),
                    .standby: (
                        [
                            .callOff(twice, attempt: 5), .discardDraft, .fail(UpdateRefusal(.image, twice)),
                        ], .idle
                    ),
                    .failed: ([.discardDraft, imageFailed], .idle),
                    .notTold: ([.discardDraft, notTold], .idle),
                    .keeperLost: ([.goOnAlone, .discardDraft, keeperDied], .idle),
                ], ignored: assessing + asking + publishing + batons),
            Row(
                .publishing(["a"], for: .update),
                [
                    .published: ([.handOver(.update, attempt: 5)], .handedOver(.update)),
                    .notPublished: ([.discardDraft, .fail(.obstacles)], .loaded(["a"], for: nil)),
                    .keeperLost: ([.goOnAlone], .publishing(["a"], for: .update)),
                ], ignored: [.standby, .prepared, .failed, .notTold] + formats + assessing + drafting + asking + batons),
            Row(
                .handedOver(.update),
                [
                    .failed: ([.thaw, calledOff], .idle),
                    .notTold: ([.thaw, calledOff], .idle),
                    .standby: (
                        [.callOff(twice, attempt: 5), .thaw, .fail(UpdateRefusal(.calledOff, twice))], .idle
                    ),
                    .keeperLost: ([.takeBaton], .handedOver(.update)),
                    .batonIsOurs: ([.endImage, .thaw, .goOnAlone, keeperDied], .idle),
                    .batonIsTheirs: ([.exit], .handedOver(.update)),
                ], ignored: [.prepared] + formats + assessing + drafting + asking + publishing),
            Row(
                .handedOver(.reload),
                [
                    .failed: ([calledOff], .idle),
                    .notTold: ([calledOff], .idle),
                    .standby: ([.callOff(twice, attempt: 5), .fail(UpdateRefusal(.calledOff, twice))], .idle),
                    .keeperLost: ([.takeBaton], .handedOver(.reload)),
                    .batonIsOurs: ([.endImage, .goOnAlone, keeperDied], .idle),
                    .batonIsTheirs: ([.exit], .handedOver(.reload)),
                ], ignored: [.prepared] + formats + assessing + drafting + asking + publishing),
        ]
    }

    @Test("Every event in every phase has its actions and its next phase, or is ignored") func everyCell() {
        for row in Self.rows {
            for name in Name.allCases {
                var machine = OutgoingUpdate(in: row.phase, attempt: 5)
                let actions = [Action](machine.handle(name.event))
                let cell = "\(name) in \(row.phase)"
                if row.isBusy && Self.requests.contains(name) {
                    guard actions.count == 1, case .refuse(let refusal) = actions[0] else {
                        Issue.record("\(cell) is not refused: \(actions)")
                        continue
                    }
                    #expect(refusal.cause == .busy && machine.phase == row.phase, "\(cell)")
                } else if let expected = row.cells[name] {
                    #expect(actions == expected.actions, "\(cell)")
                    #expect(machine.phase == expected.next, "\(cell)")
                } else {
                    #expect(row.ignored.contains(name) || Self.ofEarlier.contains(name), "\(cell) is not in the table")
                    #expect(actions.isEmpty && machine.phase == row.phase, "\(cell) is not ignored")
                }
            }
        }
    }

    @Test("The table has a row for each phase and each kind of request") func completeTable() {
        let names = Self.rows.map { "\($0.phase)".prefix { $0 != "(" } }
        #expect(Set(names) == ["idle", "loading", "loaded", "preparing", "asking", "publishing", "handedOver"])
        for row in Self.rows { #expect(row.ignored.isDisjoint(with: row.cells.keys), "\(row.phase)") }
    }

    @Test("Subscribers are asked once for an update, however often the draft is outdated") func askedOnce() {
        var machine = OutgoingUpdate(in: .preparing(["a"], for: .update, tries: 1), attempt: 5)
        var asked = 0
        var events: [OutgoingUpdate.Event] = [.draftChecked(isCurrent: true)]
        while let event = events.popLast() {
            for action in machine.handle(event) {
                switch action {
                case .ask:
                    asked += 1
                    events.append(.asked(nil))
                case .checkDraft: events.append(.draftChecked(isCurrent: false))
                case .readFormats: events.append(.formatsInUse(["a"]))
                case .prepare: events.append(.prepared(attempt: 5))
                case .publish: break
                default: Issue.record("\(action)")
                }
            }
        }
        #expect(asked == 1 && machine.phase == .publishing(["a"], for: .update))
    }

    // MARK: Two updates at once

    @Test("A second request names the first one: its kind, its client, and how long it has run") func busy() {
        var first = UpdateRequest(.update)
        first.client = UpdateClient(user: 7, process: 4711)
        first.read = 1_000_000_000
        var second = UpdateRequest(.reload)
        second.read = 1_042_000_000
        var machine = OutgoingUpdate()
        #expect(machine.handle(.requested(first)).first { _ in true } == .accept)
        guard case .refuse(let refusal) = machine.handle(.requested(second)).first(where: { _ in true }) else {
            Issue.record("the second is not refused")
            return
        }
        #expect(refusal.cause == .busy)
        #expect(refusal.reason.hasPrefix("an update by user 7, process 4711 has been under way for 42 ms\nremedy: "))
        #expect(machine.phase == .loading(first))
    }

    @Test(
        "A request that was sent during an earlier update is refused; any other is accepted",
        arguments: [
            (0, true), (39_999_999_999, true), (40_000_000_000, false), (50_000_000_000, false),
            (50_999_999_999, false), (51_000_000_000, true), (60_000_000_000, true), (.max, true),
        ] as [(UInt64, Bool)]) func late(sent: UInt64, isAccepted: Bool)
    {
        let client = UpdateClient(user: 0, process: 12)
        for client in [client, nil] {
            var machine = OutgoingUpdate()
            machine.begin(after: EarlierUpdate(.update, by: client, began: 50_000_000_000, ended: 51_000_000_000))
            var request = UpdateRequest(.update)
            request.sent = sent
            request.read = 51_500_000_000
            let actions = [Action](machine.handle(.requested(request)))
            if isAccepted {
                #expect(actions == [.accept, .load(image: "", attempt: 1)])
            } else if case .refuse(let refusal) = actions.first {
                #expect(refusal.cause == .busy && machine.phase == .idle)
                let by = client == nil ? "" : " by user 0, process 12"
                let reason = "an update\(by) ran when this was asked for, and has ended after 1000 ms"
                #expect(refusal.reason.hasPrefix(reason))
            } else {
                Issue.record("\(sent): \(actions)")
            }
        }
    }

    @Test("A path that is too long is refused; the longest path is not", arguments: [4095, 4096]) func longImage(
        length: Int
    ) {
        var machine = OutgoingUpdate()
        var request = UpdateRequest(.load)
        request.image = String(repeating: "x", count: length)
        let actions = [Action](machine.handle(.requested(request)))
        if length > OutgoingUpdate.longestImage {
            guard case .refuse(let refusal) = actions.first else {
                Issue.record("it is not refused")
                return
            }
            #expect(refusal.cause == .tooLong && machine.phase == .idle && actions.count == 1)
        } else {
            #expect(actions == [.accept, .load(image: request.image, attempt: 1)])
        }
    }

    @Test("No combination of times overflows") func oddTimes() {
        let times: [UInt64] = [0, 1, 1 << 63, .max]
        for began in times {
            for ended in times {
                let earlier = EarlierUpdate(.reload, by: nil, began: began, ended: ended)
                for sent in times {
                    var request = UpdateRequest(.load)
                    request.sent = sent
                    _ = earlier.refusal(of: request)
                    var machine = OutgoingUpdate()
                    request.read = began
                    _ = machine.handle(.requested(request))
                    request.read = ended
                    _ = machine.handle(.requested(request))
                }
            }
        }
    }
}

extension UpdateRequest {
    fileprivate static let load = UpdateRequest(.load)
    fileprivate static let update = UpdateRequest(.update)
    fileprivate static let reload = UpdateRequest(.reload)
    fileprivate static var updateToImage: UpdateRequest {
        var request = update
        request.image = "/x"
        return request
    }
    fileprivate static var updateWithoutReady: UpdateRequest {
        var request = update
        request.goesOnWithoutReady = true
        return request
    }
    fileprivate static var updateLeavingOut: UpdateRequest {
        var request = update
        request.leavesOut = true
        request.discards = true
        return request
    }
}

extension UpdateRefusal {
    fileprivate static let notReady = UpdateRefusal(.notReady, "1 client was not ready")
    fileprivate static let obstacles = UpdateRefusal(.core(116), "2 files cannot be frozen")
}

private func + <Element>(one: Set<Element>, other: Set<Element>) -> Set<Element> { one.union(other) }

// SPDX-License-Identifier: Apache-2.0

/// The old boot's side of an update, a load or a reload: decides the next step, and performs none.
///
/// 1. A client asks for an update, and the next image is started unless one waits. Clients are served meanwhile.
/// 2. The formats that the image knows are compared with the formats in use.
/// 3. For an update, the files that cannot be frozen are found, and the next image prepares itself on a draft of the
///    tree. If requests change the state meanwhile, it prepares itself again, but not for ever.
/// 4. The subscribers (clients that want to be asked before an update) are asked, and the update waits until all are
///    ready. They may change the state, so the image prepares itself again if the draft is outdated. No subscriber is
///    asked twice for one update.
/// 5. All files are frozen, and the state is published and handed over. No client is served from here until the update
///    has failed, or until this process is ended because the next boot runs.
///
/// Unhappy: the image does not know a format, does not start, crashes, hangs or refuses, a subscriber is not ready in
/// time, or a freeze fails. The client that asked is told the reason, and everything goes on as before. When the keeper
/// dies after the state was handed over, the ``CommitBaton`` decides which boot goes on.
package struct OutgoingUpdate: Sendable {
    /// The compatible strings that the next image knows.
    package typealias Formats = Set<String>

    package enum Phase: Equatable, Sendable {
        /// No image waits.
        case idle
        /// The next image is being started for a request.
        case loading(UpdateRequest)
        /// The next image waits. With a request, the checks before the preparation are under way.
        case loaded(Formats, for: UpdateRequest?)
        /// The next image prepares itself on a draft. This is its preparation number `tries`, counted again after the
        /// subscribers were asked.
        case preparing(Formats, for: UpdateRequest, tries: Int, hasAsked: Bool = false)
        /// The subscribers are asked, and the image waits.
        case asking(Formats, for: UpdateRequest)
        /// All files are being frozen, and the state is being published.
        case publishing(Formats, for: UpdateRequest)
        /// The next image has the state, and the old boot waits for the verdict.
        case handedOver(UpdateRequest)
    }

    package enum Event: Equatable, Sendable {
        /// A client has asked.
        case requested(UpdateRequest)

        // The messages of the keeper about the image with the number `attempt`.

        /// The image waits, holds all descriptors, and knows these formats.
        case standby(Formats, attempt: UInt32)
        /// The image has prepared itself on the draft.
        case prepared(attempt: UInt32)
        /// The image serves. The old boot of an embedded service waits for this message.
        case imageAnswered(attempt: UInt32)
        /// The image is gone.
        case imageFailed(String, attempt: UInt32)
        /// The keeper runs its new program.
        case keeperReplaced(attempt: UInt32)
        /// The keeper is gone.
        case keeperLost

        // The results of actions.

        /// The formats of ``Action/readFormats``.
        case formatsInUse([String])
        /// The result of ``Action/assess(discards:leavesOut:)``: the refusal names all files that cannot be frozen.
        case assessed(UpdateRefusal?)
        /// There is no draft.
        case notDrafted
        /// The result of ``Action/checkDraft``.
        case draftChecked(isCurrent: Bool)
        /// A result of ``Action/ask``: there are no subscribers.
        case noSubscribers
        /// A result of ``Action/ask``: all are ready, or the time has ended. The refusal names all that are not ready.
        case asked(UpdateRefusal?)
        case published
        /// Nothing was published, and nothing is frozen.
        case notPublished(UpdateRefusal)
        /// The keeper could not be told to load, to prepare, or to hand over.
        case notTold(String)
        /// The result of ``Action/takeBaton``.
        case baton(isOurs: Bool)
    }

    package enum Action: Equatable, Sendable {
        /// Accept the request: its client waits, and gets ECANCELED if this process dies before it can answer.
        case accept
        /// Have the keeper start an image.
        case load(image: String, attempt: UInt32)
        /// Have the keeper become an image.
        case replaceKeeper(image: String, attempt: UInt32)
        /// Tell the keeper that the image is not wanted.
        case callOff(String, attempt: UInt32)
        /// Read which formats the files and FLBs of the state have.
        case readFormats
        /// Find the files that cannot be frozen, and the other costs of the update.
        case assess(discards: Bool, leavesOut: Bool)
        /// Write a draft, and have the image prepare itself on it.
        case prepare(leavesOut: Bool, attempt: UInt32)
        /// Find out whether the draft still matches the state.
        case checkDraft
        case discardDraft
        /// Ask all subscribers, and wait until they are ready or the time has ended. After ``fail(_:)`` they are told
        /// that the update is over. After a success the next boot tells them.
        case ask
        case publish(discards: Bool, leavesOut: Bool)
        /// Have the keeper hand the state over to the image, and wait for the verdict.
        case handOver(HandOverKind, attempt: UInt32)
        /// Resume this boot after the publication.
        case thaw
        /// Try to take the baton.
        case takeBaton
        /// End the next image, and wait until it has ended.
        case endImage
        /// End this process: the next boot runs.
        case exit
        /// Go on without the keeper.
        case goOnAlone
        /// Answer the accepted request with success.
        case succeed
        /// Answer the accepted request with a failure.
        case fail(UpdateRefusal)
        /// Answer a request that was not accepted.
        case refuse(UpdateRefusal)
    }

    package private(set) var phase = Phase.idle
    /// The number of the latest image that was asked for. A message about an earlier image has another number.
    package private(set) var attempt: UInt32 = 0
    private var earlier: EarlierUpdate?

    /// The machine of a boot that runs.
    package init() {}

    /// A machine in any phase, for tests.
    init(in phase: Phase, attempt: UInt32) {
        self.phase = phase
        self.attempt = attempt
    }

    /// Notes the update or reload with which this process began to serve.
    package mutating func begin(after earlier: EarlierUpdate) { self.earlier = earlier }

    /// The longest path of an image, in bytes.
    package static let longestImage = 4095

    /// The most preparations of an image for one update, before and after the subscribers are asked.
    package static let mostTries = 2

    /// The request that is under way.
    package var request: UpdateRequest? {
        switch phase {
        case .idle: nil
        case .loading(let request), .preparing(_, let request, _, _), .asking(_, let request),
            .publishing(_, let request), .handedOver(let request):
            request
        case .loaded(_, let request): request
        }
    }

    /// Whether an image waits that no request uses now.
    package var isImageReady: Bool { if case .loaded(_, for: nil) = phase { true } else { false } }

    /// Whether an image is being started.
    package var isStartingImage: Bool { if case .loading = phase { true } else { false } }

    /// Takes an event, and says what to do about it.
    package mutating func handle(_ event: Event) -> ActionList<Action> {
        switch event {
        case .requested(let request): return begin(request)
        case .standby(let formats, attempt): return standby(formats)
        case .prepared(attempt): return prepared()
        case .imageFailed(let why, attempt): return imageFailed(why)
        case .imageAnswered(attempt): return imageAnswered()
        case .keeperReplaced(attempt): return keeperReplaced()
        case .standby, .prepared, .imageAnswered, .imageFailed, .keeperReplaced: return ActionList()
        case .keeperLost: return keeperLost()
        case .formatsInUse(let formats): return compare(formats)
        case .assessed(let refusal): return assessed(refusal)
        case .notDrafted: return notDrafted()
        case .draftChecked(let isCurrent): return draftChecked(isCurrent)
        case .noSubscribers: return noSubscribers()
        case .asked(let refusal): return asked(refusal)
        case .published: return published()
        case .notPublished(let refusal): return notPublished(refusal)
        case .notTold(let why): return notTold(why)
        case .baton(let isOurs): return baton(isOurs)
        }
    }

    // MARK: Requests

    /// The refusal that a request would get now; nil when it would be accepted.
    package func refusal(of new: UpdateRequest) -> UpdateRefusal? {
        if let refusal = request.map({ Self.busy($0, new) }) ?? earlier?.refusal(of: new) { return refusal }
        // Bytes that are not UTF-8 get longer in a text, and a message to the keeper has no room for all of them.
        guard new.image.utf8.count <= Self.longestImage else {
            let reason = "the path of the image is longer than \(Self.longestImage) bytes: give a shorter one"
            return UpdateRefusal(.tooLong, reason)
        }
        return nil
    }

    private mutating func begin(_ new: UpdateRequest) -> ActionList<Action> {
        if let refusal = refusal(of: new) { return ActionList(.refuse(refusal)) }
        if case .loaded(let formats, nil) = phase, [.update, .reload].contains(new.kind), new.image.isEmpty {
            phase = .loaded(formats, for: new)
            return ActionList(.accept, .readFormats)
        }
        phase = .loading(new)
        attempt &+= 1
        guard new.kind == .reloadKeeper else {
            return ActionList(.accept, .load(image: new.image, attempt: attempt))
        }
        // The standby is given up with the old keeper.
        return ActionList(.accept, .replaceKeeper(image: new.image, attempt: attempt))
    }

    private static func busy(_ running: UpdateRequest, _ new: UpdateRequest) -> UpdateRefusal {
        let length = (new.read - min(running.read, new.read)) / 1_000_000
        return UpdateRefusal(
            .busy,
            "\(running.kind.noun) by \(running.client) has been under way for \(length) ms\n"
                + "remedy: wait until it has ended, and look at the status before you ask again")
    }

    private mutating func keeperReplaced() -> ActionList<Action> {
        guard case .loading(let request) = phase, request.kind == .reloadKeeper else { return ActionList() }
        phase = .idle
        return ActionList(.succeed)
    }

    // MARK: With an image

    private mutating func standby(_ formats: Formats) -> ActionList<Action> {
        switch phase {
        case .loading(let request):
            phase = .loaded(formats, for: request)
            return ActionList(.readFormats)
        case .preparing, .asking, .handedOver:
            // The image waits again, so it will not do its step.
            let why = "the image said again that it waits"
            var actions = ActionList(Action.callOff(why, attempt: attempt))
            for action in imageFailed(why) { actions.append(action) }
            return actions
        case .idle, .loaded, .publishing: return ActionList()
        }
    }

    private mutating func compare(_ inUse: [String]) -> ActionList<Action> {
        switch phase {
        case .loaded(let formats, for: .some(let request)):
            if let unknown = Self.unknown(inUse, formats) { return refuseImage(unknown) }
            switch request.kind {
            case .load:
                phase = .loaded(formats, for: nil)
                return ActionList(.succeed)
            case .update: return ActionList(.assess(discards: request.discards, leavesOut: request.leavesOut))
            // The keeper starts no image for the orchestrator then.
            case .reloadKeeper: return ActionList()
            case .reload:
                phase = .handedOver(request)
                return ActionList(.handOver(.reload, attempt: attempt))
            }
        case .preparing(let formats, let request, let tries, let hasAsked):
            // A file that was preserved meanwhile may have another format.
            if let unknown = Self.unknown(inUse, formats) { return refuseImage(unknown) }
            guard tries < Self.mostTries else { return goOn(formats, request, hasAsked: hasAsked) }
            phase = .preparing(formats, for: request, tries: tries + 1, hasAsked: hasAsked)
            return ActionList(.prepare(leavesOut: request.leavesOut, attempt: attempt))
        case .idle, .loading, .loaded, .asking, .publishing, .handedOver: return ActionList()
        }
    }

    private static func unknown(_ inUse: [String], _ known: Formats) -> String? {
        inUse.filter { !known.contains($0) }.min()
    }

    private mutating func refuseImage(_ format: String) -> ActionList<Action> {
        var actions = ActionList(Action.callOff("it does not know \"\(format)\"", attempt: attempt))
        for action in imageFailed("the image does not know \"\(format)\", which is in use") { actions.append(action) }
        return actions
    }

    private mutating func assessed(_ refusal: UpdateRefusal?) -> ActionList<Action> {
        guard case .loaded(let formats, for: .some(let request)) = phase, request.kind == .update else {
            return ActionList()
        }
        if let refusal, !request.leavesOut {
            phase = .loaded(formats, for: nil)
            return ActionList(.fail(refusal))
        }
        phase = .preparing(formats, for: request, tries: 1)
        return ActionList(.prepare(leavesOut: request.leavesOut, attempt: attempt))
    }

    /// Goes on without a draft, which only makes the update quicker. The arena may be full.
    private mutating func notDrafted() -> ActionList<Action> {
        guard case .preparing(let formats, let request, _, let hasAsked) = phase else { return ActionList() }
        return goOn(formats, request, hasAsked: hasAsked)
    }

    private func prepared() -> ActionList<Action> {
        guard case .preparing = phase else { return ActionList() }
        return ActionList(.checkDraft)
    }

    private mutating func draftChecked(_ isCurrent: Bool) -> ActionList<Action> {
        guard case .preparing(let formats, let request, _, let hasAsked) = phase else { return ActionList() }
        return isCurrent ? goOn(formats, request, hasAsked: hasAsked) : ActionList(.readFormats)
    }

    // MARK: Asking

    /// Asks the subscribers when the image is prepared, and publishes when they were asked.
    private mutating func goOn(
        _ formats: Formats, _ request: UpdateRequest, hasAsked: Bool
    ) -> ActionList<Action> {
        guard !hasAsked else { return publish(formats, request) }
        phase = .asking(formats, for: request)
        return ActionList(.ask)
    }

    private mutating func noSubscribers() -> ActionList<Action> {
        guard case .asking(let formats, let request) = phase else { return ActionList() }
        return publish(formats, request)
    }

    private mutating func asked(_ refusal: UpdateRefusal?) -> ActionList<Action> {
        guard case .asking(let formats, let request) = phase else { return ActionList() }
        if let refusal, !request.goesOnWithoutReady {
            phase = .loaded(formats, for: nil)
            return ActionList(.discardDraft, .fail(refusal))
        }
        // Most subscribers have preserved something meanwhile.
        phase = .preparing(formats, for: request, tries: 0, hasAsked: true)
        return ActionList(.checkDraft)
    }

    // MARK: Publishing

    private mutating func publish(_ formats: Formats, _ request: UpdateRequest) -> ActionList<Action> {
        phase = .publishing(formats, for: request)
        return ActionList(.publish(discards: request.discards, leavesOut: request.leavesOut))
    }

    private mutating func published() -> ActionList<Action> {
        guard case .publishing(_, let request) = phase else { return ActionList() }
        phase = .handedOver(request)
        return ActionList(.handOver(.update, attempt: attempt))
    }

    private mutating func notPublished(_ refusal: UpdateRefusal) -> ActionList<Action> {
        guard case .publishing(let formats, _) = phase else { return ActionList() }
        phase = .loaded(formats, for: nil)
        return ActionList(.discardDraft, .fail(refusal))
    }

    // MARK: Failing

    private mutating func imageFailed(_ why: String) -> ActionList<Action> {
        switch phase {
        case .idle: return ActionList()
        case .loading, .loaded(_, for: .some):
            phase = .idle
            return ActionList(.fail(UpdateRefusal(.image, why)))
        case .loaded(_, for: nil):
            phase = .idle
            return ActionList()
        case .preparing, .asking:
            phase = .idle
            return ActionList(.discardDraft, .fail(UpdateRefusal(.image, why)))
        case .publishing:
            // The publication ends first. The hand-over is then answered with another failure.
            return ActionList()
        case .handedOver(let request): return takeBack(request, UpdateRefusal(.calledOff, why))
        }
    }

    private mutating func imageAnswered() -> ActionList<Action> {
        guard case .handedOver = phase else { return ActionList() }
        phase = .idle
        return ActionList(.exit)
    }

    private mutating func takeBack(_ request: UpdateRequest, _ refusal: UpdateRefusal) -> ActionList<Action> {
        phase = .idle
        return request.kind == .update ? ActionList(.thaw, .fail(refusal)) : ActionList(.fail(refusal))
    }

    private mutating func notTold(_ why: String) -> ActionList<Action> {
        let refusal = UpdateRefusal(.alone, why)
        switch phase {
        case .idle, .loaded, .publishing: return ActionList()
        case .loading:
            phase = .idle
            return ActionList(.fail(refusal))
        case .preparing, .asking:
            phase = .idle
            return ActionList(.discardDraft, .fail(refusal))
        case .handedOver(let request): return takeBack(request, UpdateRefusal(.calledOff, why))
        }
    }

    private static let keeperDied = UpdateRefusal(
        .alone, "the keeper died\nremedy: start luod on this state, which takes its place, and ask again")

    private mutating func keeperLost() -> ActionList<Action> {
        switch phase {
        case .idle, .loaded(_, for: nil):
            phase = .idle
            return ActionList(.goOnAlone)
        case .loading, .loaded(_, for: .some):
            phase = .idle
            return ActionList(.goOnAlone, .fail(Self.keeperDied))
        case .preparing, .asking:
            phase = .idle
            var actions = ActionList(Action.goOnAlone, .discardDraft)
            actions.append(.fail(Self.keeperDied))
            return actions
        case .publishing:
            // The publication ends first. The hand-over then finds no keeper.
            return ActionList(.goOnAlone)
        case .handedOver: return ActionList(.takeBaton)
        }
    }

    /// The next image may hang in the middle of its work on the arena. It is ended before the old boot goes on.
    private mutating func baton(_ isOurs: Bool) -> ActionList<Action> {
        guard case .handedOver(let request) = phase else { return ActionList() }
        guard isOurs else { return ActionList(.exit) }
        var actions = ActionList(Action.endImage)
        let rest = takeBack(request, Self.keeperDied)
        for action in rest {
            if case .fail = action { actions.append(.goOnAlone) }
            actions.append(action)
        }
        return actions
    }
}

// SPDX-License-Identifier: Apache-2.0

/// The next boot's side of an update or a reload: decides the next step, and performs none.
///
/// 1. The image says which formats it knows, and gets all held descriptors.
/// 2. The image waits. For an update it may prepare itself on a draft of the tree, more than once.
/// 3. The image gets the state, and opens it on trial: the old boot can still go on.
/// 4. The image says that it is ready, and is told to go. With the baton it takes over: this is the commit.
///
/// Unhappy: an image that cannot open the state says the reason, and ends. An image ends without a word, and has
/// changed nothing, when it gets an unexpected message, is not wanted any more, or finds the baton taken. An image of
/// luod also ends when it loses the link, because the keeper or the old boot goes on. An embedded service has no
/// keeper: if its old process has ended, the image goes on alone with the descriptors and the state that it has.
package struct IncomingUpdate: Sendable {
    package enum Phase: Equatable, Sendable {
        /// The image has not said anything.
        case starting
        /// The image gets the held descriptors.
        case gathering
        /// The image holds all descriptors, and waits.
        case standby
        /// The image has read a draft, and waits.
        case prepared
        /// The image opens the state that it got.
        case opening(HandOverKind)
        /// The state is open on trial.
        case trial(HandOverKind)
        /// The image runs.
        case tookOver
        case ended
    }

    package enum Event: Equatable, Sendable {
        case started
        /// The image has got all held descriptors. In an embedded service, the program has also said that it is ready.
        case told
        /// There is a draft.
        case prepare
        /// The old boot has published its state, or reloads.
        case handOver(HandOverKind, hasBaton: Bool)
        /// The result of ``Action/open(_:onPrepared:)``.
        case opened
        case notOpened(String)
        case go
        /// The result of ``Action/takeBaton``.
        case baton(isOurs: Bool)
        /// A message that is no step of an update.
        case other
        /// The process at the other end of the link has ended.
        case linkLost
        /// The process at the other end does not want this image.
        case dismissed
    }

    package enum Action: Equatable, Sendable {
        /// Say that the image waits, and which formats it knows.
        case sayStandby
        /// Read the draft. A draft that cannot be read is read again when it is published.
        case prepare
        case sayPrepared
        /// Open the state: the one that was prepared, if `onPrepared`.
        case open(HandOverKind, onPrepared: Bool)
        case sayFailed(String)
        case sayReady
        case takeBaton
        /// End the trial.
        case confirm
        /// Find connections and sessions again, and answer the client that asked.
        case resume
        /// Say that the client was answered: the old process can be ended.
        case sayAnswered
        case serve
        /// End this process.
        case exit
    }

    package private(set) var phase = Phase.starting

    private let goesOnAlone: Bool

    /// Makes the machine of an image that has just been started.
    ///
    /// - Parameter goesOnAlone: whether the image goes on when the process at the other end of the link has ended.
    package init(goesOnAlone: Bool = false) { self.goesOnAlone = goesOnAlone }

    /// A machine in any phase, for tests.
    init(in phase: Phase, goesOnAlone: Bool = false) {
        self.phase = phase
        self.goesOnAlone = goesOnAlone
    }

    /// Takes an event, and says what to do about it.
    package mutating func handle(_ event: Event) -> ActionList<Action> {
        switch (phase, event) {
        case (.tookOver, _), (.ended, _): return ActionList()
        case (_, .linkLost): return linkLost()
        case (_, .dismissed): return end()
        case (.starting, .started):
            phase = .gathering
            return ActionList(.sayStandby)
        case (.gathering, .told):
            phase = .standby
            return ActionList(.sayStandby)
        case (.gathering, .other), (.standby, .other), (.prepared, .other), (.standby, .told), (.prepared, .told):
            return ActionList()
        case (.standby, .prepare), (.prepared, .prepare):
            phase = .prepared
            return ActionList(.prepare, .sayPrepared)
        case (.standby, .handOver(let what, hasBaton: true)):
            phase = .opening(what)
            return ActionList(.open(what, onPrepared: false))
        case (.prepared, .handOver(let what, hasBaton: true)):
            phase = .opening(what)
            return ActionList(.open(what, onPrepared: what == .update))
        case (.opening(let what), .opened):
            phase = .trial(what)
            return ActionList(.sayReady)
        case (.opening, .notOpened(let why)):
            phase = .ended
            return ActionList(.sayFailed(why), .exit)
        case (.trial, .go): return ActionList(.takeBaton)
        case (.trial(let what), .baton(isOurs: true)): return takeOver(what)
        case (.starting, _), (.gathering, _), (.standby, _), (.prepared, _), (.opening, _), (.trial, _): return end()
        }
    }

    /// Handles the end of the process at the other end of the link. An image that goes on alone begins the next boot if
    /// the state was published, and otherwise goes on with the same boot.
    private mutating func linkLost() -> ActionList<Action> {
        guard goesOnAlone else { return end() }
        switch phase {
        case .standby, .prepared:
            let wasPrepared = phase == .prepared
            phase = .opening(.update)
            return ActionList(.open(.update, onPrepared: wasPrepared))
        // The baton says whether the old process had called the image off.
        case .trial: return ActionList(.takeBaton)
        case .starting, .gathering, .opening, .tookOver, .ended: return end()
        }
    }

    private mutating func end() -> ActionList<Action> {
        phase = .ended
        return ActionList(.exit)
    }

    private mutating func takeOver(_ what: HandOverKind) -> ActionList<Action> {
        phase = .tookOver
        var actions = ActionList<Action>()
        if what == .update { actions.append(.confirm) }
        actions.append(.resume)
        actions.append(.sayAnswered)
        actions.append(.serve)
        return actions
    }
}

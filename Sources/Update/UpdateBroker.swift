// SPDX-License-Identifier: Apache-2.0
package import LiveUpdatePlatform

/// The part of an update between the current orchestrator and the next image. It does no I/O: it answers each event
/// with actions, which the carrier performs in order. The carrier is luod's keeper, or the old process of an embedded
/// service.
///
/// 1. *idle*: there is no next image.
/// 2. *greeting*: an image was started and sends its version. This is the last phase of an image for the keeper itself.
/// 3. *loading*: the image prepares to read. *catchingUp*: it gets all descriptors.
/// 4. *standby*: the image waits. It is told which descriptors are held and released. *preparing*: it reads a draft.
/// 5. *takingOver*: the image reads the published tree. When it has, the carrier switches to it. For the keeper this is
///    the commit.
/// 6. *answering*: the old process of an embedded service waits until the image serves. The image's answer is the
///    commit.
///
/// Every failure before the commit ends the next image, and the current orchestrator is told the reason: the update is
/// *called off*.
package struct UpdateBroker: Equatable, Sendable {
    package enum Phase: Equatable, Sendable {
        case idle, greeting, loading, catchingUp, standby, preparing
        case takingOver(HandOverKind)
        case answering(HandOverKind)
    }

    /// The process between the current orchestrator and the next image.
    package enum Carrier: Equatable, Sendable {
        /// luod's keeper, which lives on.
        case keeper
        /// The process of the current orchestrator, which holds everything until the image has answered.
        case oldBoot

        /// The hint at the end of the message about an image that sent an unexpected message.
        fileprivate var question: String {
            switch self {
            case .keeper: "is it a luod of this version?"
            case .oldBoot: "does it begin an UpdatableProcess of this version?"
            }
        }
    }

    /// The purpose of an image.
    package enum Purpose: Equatable, Sendable {
        /// The image will be the next orchestrator.
        case orchestrator
        /// The image will be the program of the keeper (`luoctl reload --keeper`).
        case keeper
    }

    package enum Event: Equatable, Sendable {
        // Events from the current orchestrator:
        case wants(Purpose, image: String, attempt: UInt32)
        case prepare(Extent, attempt: UInt32)
        case handOver(HandOverKind, note: [UInt8], attempt: UInt32)
        /// The orchestrator does not want the image any more, and knows the reason.
        case dismissed(attempt: UInt32)
        // Events about the next image:
        /// The image has said its version. With a reason, it is refused.
        case greeted(refusal: String?)
        case said(UpdateMessage)
        /// The image has sent a message that is no step of an update.
        case saidOther
        case startFailed(String)
        /// A message could not be sent to the image.
        case unreachable(String)
        /// The image's process has ended.
        case ended(String)
        /// The switch was made.
        case switched
        // Other events:
        case timePassed
        case orchestratorDied
    }

    package enum Action: Equatable, Sendable {
        /// Start the image in standby. A failure causes ``Event/startFailed(_:)``.
        case start(String)
        /// Send the image all held descriptors that it lacks. A failure causes ``Event/unreachable(_:)``.
        case feed
        /// Send the image a message with the descriptors of the event. A failure causes ``Event/unreachable(_:)``.
        case tellNext(UpdateMessage)
        case tellCurrent(UpdateMessage)
        /// Tell the current orchestrator that the image waits, with a descriptor of the image's process.
        case announce(formats: [String], attempt: UInt32)
        /// End the image's process, and wait until it has ended. It does not touch the arena afterwards.
        case endNext
        /// Let the image continue as the current orchestrator. Causes ``Event/switched`` or ``Event/unreachable(_:)``.
        case switchOver
        /// Become the image. After a failure, tell the current orchestrator.
        case replaceKeeper(String, attempt: UInt32)
    }

    /// The time limit of each phase except idle and standby, in milliseconds.
    private let patience: UInt64
    /// The time limit until the image is in standby.
    private let startPatience: UInt64
    private let carrier: Carrier
    package private(set) var phase = Phase.idle
    private var purpose = Purpose.orchestrator
    /// The path of the image.
    package private(set) var image = ""
    /// The number that the orchestrator gave to the image.
    private var attempt: UInt32 = 0
    private var due: UInt64 = 0

    /// Makes a broker without an image.
    ///
    /// - Parameters:
    ///   - patience: the time limit of each phase, in milliseconds.
    ///   - start: the time limit until the image is in standby; nil: as `patience`.
    ///   - carrier: the process that performs the actions.
    package init(patience: UInt64, startingWithin start: UInt64? = nil, in carrier: Carrier = .keeper) {
        self.patience = patience
        startPatience = start ?? patience
        self.carrier = carrier
    }

    /// The time when the phase must have ended, in milliseconds of CLOCK_MONOTONIC; nil for a phase without a limit.
    package var deadline: UInt64? { phase == .idle || phase == .standby ? nil : due }

    /// Whether no work is under way that must be quick: there is no image, or it waits.
    package var isQuiet: Bool { deadline == nil }

    package var isTakingOver: Bool { if case .takingOver = phase { true } else { false } }

    /// Decides the actions for an event. `now` is the time, in milliseconds of CLOCK_MONOTONIC.
    package mutating func handle(_ event: Event, at now: UInt64) -> [Action] {
        switch event {
        case .wants(let purpose, let image, let attempt):
            let before: [Action] = phase == .idle ? [] : [.endNext]
            (self.purpose, self.image, self.attempt) = (purpose, image, attempt)
            phase = .greeting
            due = now + startPatience
            return before + [.start(image)]
        case .prepare(let draft, let attempt):
            return ask(.prepare(draft, attempt: attempt), attempt, .preparing, now)
        case .handOver(let what, let note, let attempt):
            return ask(.handOver(what, note: note, attempt: attempt), attempt, .takingOver(what), now)
        case .dismissed(let attempt):
            guard phase != .idle, attempt == self.attempt else { return [] }
            phase = .idle
            return [.endNext]
        case .greeted(let refusal): return phase == .idle ? [] : greeted(refusal)
        case .said(let message): return phase == .idle ? [] : hear(message)
        case .saidOther: return phase == .idle ? [] : callOff(unexpected)
        case .startFailed(let why): return phase == .idle ? [] : callOff("\(image) could not be started: \(why)")
        case .unreachable(let why): return phase == .idle ? [] : callOff(why)
        case .ended(let how):
            let stranger = phase == .greeting ? ", and \(image) has not said its version" : ""
            return phase == .idle ? [] : callOff("the image ended: \(how)\(stranger)")
        case .switched:
            guard carrier == .oldBoot, case .takingOver(let what) = phase else {
                phase = .idle
                return []
            }
            enter(.answering(what), now)
            return []
        case .timePassed:
            guard let deadline, now >= deadline else { return [] }
            return callOff("the image did not \(verb) in time")
        case .orchestratorDied:
            guard phase != .idle else { return [] }
            phase = .idle
            // This must happen before another orchestrator touches the arena.
            return [.endNext]
        }
    }

    private mutating func enter(_ phase: Phase, _ now: UInt64) {
        self.phase = phase
        due = now + patience
    }

    /// Asks the waiting image to do something within the time limit.
    private mutating func ask(
        _ message: UpdateMessage, _ attempt: UInt32, _ phase: Phase, _ now: UInt64
    ) -> [Action] {
        guard self.phase == .standby, self.attempt == attempt else {
            return [.tellCurrent(.failed("no image is loaded", attempt: attempt))]
        }
        enter(phase, now)
        return [.feed, .tellNext(message)]
    }

    private mutating func hear(_ message: UpdateMessage) -> [Action] {
        switch (phase, message) {
        case (.greeting, .failed(let why, _)): return callOff(why)
        case (.greeting, _): return callOff(unexpected)
        case (.loading, .standby):
            phase = .catchingUp
            return [.feed]
        case (.catchingUp, .standby(let formats, _)), (.standby, .standby(let formats, _)):
            phase = .standby
            return [.announce(formats: formats, attempt: attempt)]
        case (.preparing, .prepared):
            phase = .standby
            return [.tellCurrent(.prepared(attempt: attempt))]
        case (.takingOver, .ready): return [.switchOver]
        case (.answering, .answered):
            phase = .idle
            return [.tellCurrent(.answered)]
        case (_, .failed(let why, _)): return callOff(why)
        default: return callOff(unexpected)
        }
    }

    private mutating func greeted(_ refusal: String?) -> [Action] {
        guard phase == .greeting else { return callOff(unexpected) }
        if let refusal { return callOff(refusal) }
        guard purpose == .keeper else {
            phase = .loading
            return []
        }
        phase = .idle
        return [.endNext, .replaceKeeper(image, attempt: attempt)]
    }

    private var unexpected: String {
        phase == .greeting
            ? "\(image) did not begin with its version: \(carrier.question)"
            : "\(image) sent an unexpected message when it should \(verb): \(carrier.question)"
    }

    private mutating func callOff(_ why: String) -> [Action] {
        phase = .idle
        return [.endNext, .tellCurrent(.failed(why, attempt: attempt))]
    }

    private var verb: String {
        switch phase {
        case .loading where carrier == .oldBoot: "make its UpdatableProcess"
        case .catchingUp where carrier == .oldBoot: "call ready()"
        case .idle, .greeting, .loading, .catchingUp: "start"
        case .standby: "wait"
        case .preparing: "prepare itself"
        case .takingOver, .answering: "take over"
        }
    }
}

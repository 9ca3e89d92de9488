// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdateMachine
import LiveUpdatePlatform

/// The kind of a descriptor. The keeper stores it with the descriptor, and does not look at the descriptor itself.
enum DescriptorKind: UInt32, Sendable {
    case arena = 1
    /// Listens for a keeper that replaces a dead one.
    case control = 2
    /// Listens for clients.
    case listener = 3
    /// A client's connection.
    case client = 4
    /// luod's end of a session.
    case session = 5
    /// A preserved file.
    case file = 6
    /// luod's end of an opened device: see ``Gate``.
    case device = 8
    /// Reports the calls of programs that run under a filter. The gate holds it, too.
    case program = 9
    /// Memory for the calls that a gate has taken and not answered. Only the keeper and its gates hold it.
    case calls = 10
    /// Memory that the keeper shares with its orchestrators: ``ControlMemory``.
    case memory = 11
    /// Listens for root and luod's own user.
    case rootListener = 12

    /// Whether luod itself needs the descriptor, and no client does.
    var isOfState: Bool { [.arena, .control, .listener, .rootListener, .calls, .memory].contains(self) }

    /// Whether this is luod's end of a socket, and a client holds the other end.
    var isOwnSocket: Bool { [.client, .session, .device].contains(self) }
}

/// The facts about a held descriptor that an orchestrator needs after the orchestrator before it has crashed. The
/// keeper reads only the user, to close the descriptor on that user's thread.
struct DescriptorLabel: Hashable, Sendable {
    /// Identifies the other end of a socket: ``SystemPackage/FileDescriptor/socketCookie()``.
    var cookie: UInt64 = 0
    /// The user to charge for the descriptor; for a client's connection, the user that the client acts as.
    var user: UInt32 = 0
    /// The boot in which a device was opened, or in which the client of a session was asked (``Traits/wasAsked``): the
    /// number of updates before it. 0 for all other descriptors.
    var boot: UInt32 = 0
    var traits: Traits = []

    /// The user that made the request on this connection: root if root acts as another user.
    var charged: UInt32 { traits.contains(.isUnlimited) ? 0 : user }

    struct Traits: OptionSet, Hashable, Sendable {
        let rawValue: UInt32

        /// The client has received the session's descriptor, so that closing it finishes the session.
        static let hasArrived = Traits(rawValue: 1)
        /// The client is root, and may act as another user: no limit of that user applies.
        static let isUnlimited = Traits(rawValue: 2)
        /// A service manager has passed the clients' socket, and still uses it.
        static let wasPassed = Traits(rawValue: 4)
        /// The client of the session wants to be asked before an update.
        static let isSubscribed = Traits(rawValue: 8)
        /// The client of the session was asked, and was not told yet that the update is over.
        static let wasAsked = Traits(rawValue: 16)
        /// The kernel's orchestrator has carried the file from the previous kernel, and given it another identity.
        static let cameWithKernel = Traits(rawValue: 32)
    }
}

/// A held descriptor: its slot, its kind, and its label.
struct HeldSlot: Equatable, Sendable {
    var slot: DescriptorSlot
    var kind: DescriptorKind
    var label = DescriptorLabel()
}

/// One message on the socket between a keeper and one of its processes, with descriptors. A sender never waits for an
/// answer. The receiver reads a message even after its sender has died.
///
/// Both sides send `hello` first, with the version of the control link. A keeper then sends `settings` to a process
/// that it has started.
///
/// Start and service:
///
/// - keeper to a new orchestrator: `stored`; `hold` for all held descriptors; then `begin`. A standby gets `begin`
///   before the descriptors, and again after them.
/// - orchestrator to keeper: `ready` when it serves; in its place `cannotBegin` when the orchestrator ends, or
///   `refuses` when it continues without the state; then `keep` and `release`.
/// - keeper to orchestrator: `stored`, also after each change; `closing` and `room` in a shortage; `ending` on SIGTERM.
/// - orchestrator to keeper: `stop`, once the log names the sessions and files that end. It is the answer to `ending`,
///   or follows a client's STOP.
/// - orchestrator to keeper, before `stop`: `holdUntilEnd` with the session of the kernel's orchestrator, if that
///   carries memory files.
/// - keeper to a holder: `hold` for the files; then `holdUntilEnd`, with the session. The answer is `ready`.
/// - keeper to a gate: `hold` with the memory for its calls; then `hold` for each program that runs under a filter.
///
/// Update and reload:
///
/// - orchestrator to keeper: `load`, then `prepare`, then `handOver`.
/// - standby to keeper: `standby` when it reads, and again when it holds all descriptors; `prepared`.
/// - keeper to orchestrator: `standby` with a descriptor of the standby's process; `prepared`; `failed` when the
///   standby has ended.
/// - keeper to standby: once it is loaded, `hold` and `release` as they occur; `prepare`; `handOver`; `go`, which is
///   the switch and commits the update.
/// - standby to keeper: `ready` when it has taken over, or `failed`; `answered` when it serves, so that the keeper can
///   end the old orchestrator.
///
/// Replacement of the keeper:
///
/// - orchestrator to keeper: `replaceKeeper`. The answer is `keeperReplaced` from the new program, or `failed`.
/// - keeper that replaces a dead one, to the orchestrator that it finds: `adopt`. The answer is `hold` and `adopted`,
///   or `failed`.
///
/// The orchestrator numbers the images that it loads (`attempt`), so that a message about an earlier image is not
/// mistaken for one about the next.
enum ControlMessage: Equatable, Sendable {
    /// The first message of each side.
    case hello(ControlVersion)
    /// The options of luod, for the process that was started.
    case settings(Settings)
    case hold([HeldSlot])
    /// - Parameters:
    ///   - after: how the orchestrator before it ended, as text.
    ///   - pause: how many milliseconds the orchestrator waits between receiving all descriptors and reading the
    ///     journal.
    case begin(Role, nextSlot: Int64, after: String = "", pause: UInt64 = 0)
    /// The reason why an orchestrator ends before it serves any client. Nothing is held.
    case cannotBegin(StartFailure)
    /// The reason why an orchestrator holds all descriptors but serves only root, without the state.
    case refuses(StartFailure)
    case keep(HeldSlot)
    case release([DescriptorSlot])
    case load(image: String, attempt: UInt32)
    /// A message of an update or a reload.
    case update(UpdateMessage)
    /// The keeper must become this program.
    case replaceKeeper(image: String, attempt: UInt32)
    /// The keeper has become that program.
    case keeperReplaced(attempt: UInt32)
    case adopt
    /// The answer to `adopt`, after all descriptors. It comes with a descriptor of the orchestrator's process.
    case adopted(process: Int32, nextSlot: Int64)
    /// Whether a service manager stores all descriptors that the keeper holds.
    case stored(Bool)
    /// The keeper was told to end. The orchestrator must log the sessions and files that end.
    case ending
    /// The flags of a request to publish for the next kernel when luod ends; 0 takes the request back. The keeper has
    /// them for each orchestrator, and sends them before `ending`.
    case publishAtEnd(flags: UInt32)
    /// A session of the kernel's orchestrator comes with this message. It must stay open until the kernel ends.
    /// - Parameter isIncoming: whether the session comes from the previous kernel.
    case holdUntilEnd(isIncoming: Bool)
    /// The keeper must end, as it does on SIGTERM.
    case stop
    /// This many descriptors of a user wait in the keeper to be closed. 0 means few.
    case closing(UInt32, Int)
    /// The users that the keeper has room for.
    case room(KeeperRoom)

    /// The role of a new orchestrator.
    enum Role: UInt8, Sendable {
        /// The first orchestrator on this state since its keeper began.
        case first = 1
        /// Replaces an orchestrator that died.
        case successor = 2
        /// Replaces an orchestrator that died in an update. The next image of that update has been ended, too.
        case successorInUpdate = 3
        /// Must wait for a `handOver`.
        case standby = 4
        /// Must refuse clients without reading the state, because earlier orchestrators died of it. `after` has the
        /// reason.
        case refusing = 6
        /// The first orchestrator of a keeper that began with the descriptors in a service manager's store, or under
        /// the same kernel as the luod before. The boot continues.
        case restored = 5
        /// The first orchestrator under another kernel than that of the luod before: a published tree begins the next
        /// boot.
        case afterKernel = 7

        /// Chooses the role of an orchestrator that a keeper starts and that serves at once.
        ///
        /// - Parameters:
        ///   - replacing: whether an orchestrator of this keeper has died.
        ///   - wasInUpdate: whether that orchestrator died in an update.
        ///   - mustRefuse: whether too many have died of the state.
        ///   - kernel: the kernel that runs, compared with the one under which luod has last served the state.
        ///   - isRestored: whether the keeper began with the descriptors in a service manager's store.
        init(
            replacing: Bool, wasInUpdate: Bool, mustRefuse: Bool, kernel: KernelRecord.Comparison, isRestored: Bool
        ) {
            self =
                switch (replacing, kernel) {
                case _ where mustRefuse: .refusing
                // Until the state was served under this kernel, each orchestrator is the first one.
                case (_, .other): .afterKernel
                case (true, _): wasInUpdate ? .successorInUpdate : .successor
                case (false, .same): .restored
                case (false, .unknown): isRestored ? .restored : .first
                }
        }

        /// Whether this is the first orchestrator of a luod.
        var isStart: Bool { self == .first || self == .restored || self == .afterKernel }

        /// Whether a published tree begins the next boot.
        var isNextBoot: Bool { self == .first || self == .afterKernel }
    }

    private enum Number: UInt32 {
        /// The letters LUO! as a little-endian number. It is the same in all versions.
        case hello = 0x214F_554C
        case hold = 1
        case begin, keep, release, load
        // The numbers between belong to ``UpdateMessage``.
        case adopt = 11
        case adopted
        case cannotBegin = 16
        case stored, ending, stop, closing, room, settings, refuses, replaceKeeper, keeperReplaced, publishAtEnd
        case holdUntilEnd
    }

    var bytes: [UInt8] {
        var writer = ByteWriter(capacity: 64)
        func begin(_ number: Number) { writer.put(number.rawValue) }
        switch self {
        case .update(let message): return message.bytes
        case .hello(let version):
            begin(.hello)
            writer.put(version.number)
            writer.put(counted: version.package.cut(toBytes: 100))
        case .settings(let settings):
            begin(.settings)
            writer.put(settings.bytes)
        case .hold(let slots):
            begin(.hold)
            for held in slots { writer.put(held) }
        case .begin(let role, let next, let after, let pause):
            begin(.begin)
            writer.put(role.rawValue)
            writer.put(next)
            writer.put(counted: after.cut(toBytes: 1000))
            writer.put(pause)
        case .cannotBegin(let failure):
            begin(.cannotBegin)
            writer.put(failure.cause.rawValue)
            writer.put(counted: failure.description.cut(toBytes: 1000))
        case .refuses(let failure):
            begin(.refuses)
            writer.put(failure.cause.rawValue)
            writer.put(counted: failure.description.cut(toBytes: 1000))
        case .keep(let held):
            begin(.keep)
            writer.put(held)
        case .release(let slots):
            begin(.release)
            for slot in slots { writer.put(slot.number) }
        case .load(let image, let attempt):
            begin(.load)
            writer.put(attempt)
            writer.put(counted: image)
        case .replaceKeeper(let image, let attempt):
            begin(.replaceKeeper)
            writer.put(attempt)
            writer.put(counted: image)
        case .keeperReplaced(let attempt):
            begin(.keeperReplaced)
            writer.put(attempt)
        case .adopt: begin(.adopt)
        case .adopted(let process, let next):
            begin(.adopted)
            writer.put(process)
            writer.put(next)
        case .stored(let isStored):
            begin(.stored)
            writer.put(UInt8(isStored ? 1 : 0))
        case .ending: begin(.ending)
        case .publishAtEnd(let flags):
            begin(.publishAtEnd)
            writer.put(flags)
        case .holdUntilEnd(let isIncoming):
            begin(.holdUntilEnd)
            writer.put(UInt8(isIncoming ? 1 : 0))
        case .stop: begin(.stop)
        case .closing(let user, let count):
            begin(.closing)
            writer.put(user)
            writer.put(UInt32(clamping: count))
        case .room(let room):
            begin(.room)
            writer.put(room.rawValue)
        }
        return writer.bytes
    }

    /// Decodes a message.
    ///
    /// - Returns: nil for a message that this version does not have.
    init?(_ bytes: [UInt8]) {
        guard let message = try? Self.read(bytes) else { return nil }
        self = message
    }

    private static func read(_ bytes: [UInt8]) throws(ArenaError) -> ControlMessage {
        if let message = try UpdateMessage.read(bytes) { return .update(message) }
        var reader = ByteReader(bytes, "control message")
        let number = try reader.take(UInt32.self)
        switch Number(rawValue: number) {
        // A later version may append fields to this message.
        case .hello: return .hello(ControlVersion(number: try reader.take(), package: try reader.takeCountedString()))
        case .settings: return .settings(try Settings(from: &reader))
        case .hold:
            var slots: [HeldSlot] = []
            while !reader.isAtEnd { slots.append(try reader.takeHeldSlot()) }
            return .hold(slots)
        case .begin:
            let role = try reader.take(UInt8.self)
            guard let role = Role(rawValue: role) else { break }
            return .begin(
                role, nextSlot: try reader.take(), after: try reader.takeCountedString(), pause: try reader.take())
        case .cannotBegin:
            guard let cause = StartFailure.Cause(rawValue: try reader.take()) else { break }
            return .cannotBegin(StartFailure(cause, try reader.takeCountedString()))
        case .refuses:
            guard let cause = StartFailure.Cause(rawValue: try reader.take()) else { break }
            return .refuses(StartFailure(cause, try reader.takeCountedString()))
        case .keep: return .keep(try reader.takeHeldSlot())
        case .release:
            var slots: [DescriptorSlot] = []
            while !reader.isAtEnd { slots.append(DescriptorSlot(try reader.take())) }
            return .release(slots)
        case .load:
            let attempt = try reader.take(UInt32.self)
            return .load(image: try reader.takeCountedString(), attempt: attempt)
        case .replaceKeeper:
            let attempt = try reader.take(UInt32.self)
            return .replaceKeeper(image: try reader.takeCountedString(), attempt: attempt)
        case .keeperReplaced: return .keeperReplaced(attempt: try reader.take())
        case .adopt: return .adopt
        case .adopted: return .adopted(process: try reader.take(), nextSlot: try reader.take())
        case .stored: return .stored(try reader.take(UInt8.self) != 0)
        case .ending: return .ending
        case .publishAtEnd: return .publishAtEnd(flags: try reader.take())
        case .holdUntilEnd: return .holdUntilEnd(isIncoming: try reader.take(UInt8.self) != 0)
        case .stop: return .stop
        case .closing:
            let user = try reader.take(UInt32.self)
            return .closing(user, Int(try reader.take(UInt32.self)))
        case .room:
            guard let room = KeeperRoom(rawValue: try reader.take()) else { break }
            return .room(room)
        case nil: break
        }
        throw ArenaError(.record, "a control message of type \(number)")
    }
}

extension ByteWriter {
    mutating func put(_ held: HeldSlot) {
        put(held.slot.number)
        put(held.kind.rawValue)
        put(held.label.user)
        put(held.label.boot)
        put(held.label.traits.rawValue)
        put(held.label.cookie)
    }
}

extension ByteReader {
    mutating func takeHeldSlot() throws(ArenaError) -> HeldSlot {
        let slot = DescriptorSlot(try take())
        let number = try take(UInt32.self)
        var label = DescriptorLabel()
        label.user = try take()
        label.boot = try take()
        label.traits = DescriptorLabel.Traits(rawValue: try take())
        label.cookie = try take()
        guard let kind = DescriptorKind(rawValue: number) else { throw ArenaError(.record, "kind \(number)") }
        return HeldSlot(slot: slot, kind: kind, label: label)
    }
}

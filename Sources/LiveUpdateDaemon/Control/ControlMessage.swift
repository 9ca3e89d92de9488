import Handover
import LiveUpdate
import LiveUpdateMachine
import Platform

/// The kind of a descriptor, which the keeper has with it and does not look at.
enum DescriptorKind: UInt32, Sendable {
    case arena = 1
    /// Listens for a keeper that takes the place of one that died.
    case control = 2
    /// Listens for clients.
    case listener = 3
    /// A client's connection.
    case client = 4
    /// Our end of a session.
    case session = 5
    /// A preserved file.
    case file = 6
    /// Our end of an opened device: see ``Gate``.
    case device = 8
    /// Tells of the calls of programs that run under a filter: the gate has it, too.
    case program = 9
    /// Memory for the calls that a gate has taken and not answered: of the keeper and its gates only.
    case calls = 10
    /// Memory that the keeper shares with its orchestrators: ``ControlMemory``.
    case memory = 11
    /// Listens for root and luod's own user.
    case rootListener = 12

    /// Whether luod itself needs the descriptor, and no client does.
    var isOfState: Bool { [.arena, .control, .listener, .rootListener, .calls, .memory].contains(self) }

    /// Whether it is luod's end of a socket whose other end a client has.
    var isOwnSocket: Bool { [.client, .session, .device].contains(self) }
}

/// The facts about a held descriptor that an orchestrator needs after a crash of the one before it. The keeper reads
/// only the user, to close the descriptor on that user's thread.
struct KeepLabel: Hashable, Sendable {
    /// Tells the other end of a socket from all others: ``SystemPackage/FileDescriptor/socketCookie()``.
    var cookie: UInt64 = 0
    /// The user to charge for the descriptor; for a client's connection, the user that the client acts as.
    var user: UInt32 = 0
    /// The boot in which a device was opened: the number of updates before it. 0 for all other descriptors.
    var boot: UInt32 = 0
    var traits: Traits = []

    /// The user that made the request on this connection: root, where root acts as another user.
    var charged: UInt32 { traits.contains(.isUnlimited) ? 0 : user }

    struct Traits: OptionSet, Hashable, Sendable {
        let rawValue: UInt32

        /// The client has received the session's descriptor, so a close of it finishes the session.
        static let hasArrived = Traits(rawValue: 1)
        /// The client is root, and may act as another user: no limit of that user applies.
        static let isUnlimited = Traits(rawValue: 2)
        /// A service manager has passed the clients' socket, and goes on using it.
        static let wasPassed = Traits(rawValue: 4)
    }
}

/// A held descriptor: its slot, its kind, and its label.
struct Keep: Equatable, Sendable {
    var slot: DescriptorSlot
    var kind: DescriptorKind
    var label = KeepLabel()
}

/// Between a keeper and its orchestrators: one message of a socket of theirs, descriptors beside it. A sender never
/// waits for an answer, and a message is read also when its sender has died.
///
/// | who | says |
/// |---|---|
/// | both, first of all | `hello`: the version of the control link |
/// | keeper to a process that it has started | `settings` then |
/// | keeper to a new orchestrator | `stored`, `hold` for all held descriptors, then `begin`; `begin` again after all of them |
/// | orchestrator to keeper, instead of `ready` | `cannotBegin`: the orchestrator ends afterwards; `refuses`: it goes on without the state |
/// | orchestrator to keeper | `keep`, `release`; `load`, then `prepare`, then `handOver` |
/// | standby to keeper | `standby` when it reads, and when it holds all; `prepared` |
/// | keeper to orchestrator | `standby` then, with a descriptor of the standby's process; `prepared` |
/// | standby to keeper | `ready` when it has taken over, `failed`; `answered` when it serves: the old orchestrator can be ended |
/// | keeper to standby | `begin`; `hold`, `release` once it is loaded, and as they come; `prepare`, `handOver`; `go`: the switch, and the commit of the update |
/// | keeper to orchestrator | `failed`: the standby is gone |
/// | orchestrator to keeper | `replaceKeeper`; it answers `keeperReplaced` when it is the other program, or `failed` |
/// | keeper to a gate | `hold`: first the memory for its calls, then the programs that run under a filter, as they come |
/// | keeper to orchestrator | `stored`, also when that changes; `closing` and `room` in a shortage; `ending` on SIGTERM |
/// | orchestrator to keeper | `stop`: the log has the sessions and files that end. It answers `ending`, and a client's STOP causes it, too |
/// | a keeper that takes the place of one that died, to the orchestrator that it finds | `adopt`; it answers with `hold` and `adopted`, or with `failed` |
///
/// Images are numbered by the orchestrator that wants them (`attempt`), so that a message about an earlier image is not
/// taken for one about the next.
enum ControlMessage: Equatable, Sendable {
    /// The first message of each side.
    case hello(ControlVersion)
    /// The options of luod, for the process that was started.
    case settings(Settings)
    case hold([Keep])
    /// - Parameters:
    ///   - after: how the orchestrator before it ended, in words.
    ///   - pause: how many milliseconds the orchestrator waits, after it has got all descriptors, before it reads the
    ///     journal.
    case begin(Role, nextSlot: Int64, after: String = "", pause: UInt64 = 0)
    /// Why an orchestrator ends before it serves any client: nothing is held.
    case cannotBegin(StartFailure)
    /// Why an orchestrator holds all descriptors and serves only root, without the state.
    case refuses(StartFailure)
    case keep(Keep)
    case release([DescriptorSlot])
    case load(image: String, attempt: UInt32)
    /// - Parameter attempt: which load it is of, when the keeper says it.
    case standby(formats: [String], attempt: UInt32 = 0)
    /// The keeper must become this program.
    case replaceKeeper(image: String, attempt: UInt32)
    /// The keeper has become it.
    case keeperReplaced(attempt: UInt32)
    /// Where in the arena there is a draft of what will be published.
    case prepare(Extent, attempt: UInt32)
    /// It was read, as far as it could be.
    case prepared(attempt: UInt32 = 0)
    /// With the ``CommitBaton``.
    case handOver(HandOver, note: [UInt8], attempt: UInt32)
    case ready
    case answered
    case go
    /// - Parameter attempt: which load it is of, between keeper and orchestrator.
    case failed(String, attempt: UInt32 = 0)
    case adopt
    /// The answer to it, when all is held: with a descriptor of the orchestrator's process.
    case adopted(process: Int32, nextSlot: Int64)
    /// Whether a service manager stores all that the keeper holds.
    case stored(Bool)
    /// The keeper was told to end: the orchestrator must log the sessions and files that end.
    case ending
    /// The keeper must end, as on SIGTERM.
    case stop
    /// So many descriptors of a user wait in the keeper to be closed; 0: few.
    case closing(UInt32, Int)
    /// The clients whose further descriptors the keeper has room for.
    case room(KeeperRoom)

    /// The role of a new orchestrator.
    enum Role: UInt8, Sendable {
        /// The first that runs on this state since its keeper began.
        case first = 1
        /// The successor of one that died.
        case successor = 2
        /// The successor of one that died in an update, whose next image has been ended, too.
        case successorInUpdate = 3
        /// Is to wait for a `handOver`.
        case standby = 4
        /// Is to refuse, without a look at the state, because others died of it. The reason is in `after`.
        case refusing = 6
        /// The first orchestrator of a keeper that began with the descriptors that a service manager had stored: the
        /// boot goes on.
        case restored = 5

        /// Whether this is the first orchestrator of a luod.
        var isStart: Bool { self == .first || self == .restored }
    }

    private enum Number: UInt32 {
        /// The letters LUO! in the same form for all versions and byte orders of today's machines.
        case hello = 0x214F_554C
        case hold = 1
        case begin, keep, release, load, standby, handOver, ready, go, failed, adopt, adopted, prepare, prepared,
            answered, cannotBegin, stored, ending, stop, closing, room, settings, refuses, replaceKeeper, keeperReplaced
    }

    var bytes: [UInt8] {
        var writer = ByteWriter(capacity: 64)
        func begin(_ number: Number) { writer.put(number.rawValue) }
        switch self {
        case .hello(let version):
            begin(.hello)
            writer.put(version.number)
            writer.put(counted: version.package.cut(toBytes: 100))
        case .settings(let settings):
            begin(.settings)
            writer.put(settings.bytes)
        case .hold(let keeps):
            begin(.hold)
            for keep in keeps { writer.put(keep) }
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
        case .keep(let keep):
            begin(.keep)
            writer.put(keep)
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
        case .standby(let formats, let attempt):
            begin(.standby)
            writer.put(attempt)
            for format in formats { writer.put(counted: format) }
        case .prepare(let draft, let attempt):
            begin(.prepare)
            writer.put(attempt)
            writer.put(draft.offset)
            writer.put(draft.length)
        case .prepared(let attempt):
            begin(.prepared)
            writer.put(attempt)
        case .handOver(let what, let note, let attempt):
            begin(.handOver)
            writer.put(attempt)
            writer.put(what.rawValue)
            writer.put(note)
        case .ready: begin(.ready)
        case .answered: begin(.answered)
        case .go: begin(.go)
        case .failed(let why, let attempt):
            begin(.failed)
            writer.put(attempt)
            writer.put(counted: why.cut(toBytes: 1000))
        case .adopt: begin(.adopt)
        case .adopted(let process, let next):
            begin(.adopted)
            writer.put(process)
            writer.put(next)
        case .stored(let isStored):
            begin(.stored)
            writer.put(UInt8(isStored ? 1 : 0))
        case .ending: begin(.ending)
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

    /// Takes a message apart.
    ///
    /// - Returns: nil for a message that this version does not have.
    init?(_ bytes: [UInt8]) {
        guard let message = try? Self.read(bytes) else { return nil }
        self = message
    }

    private static func read(_ bytes: [UInt8]) throws(ArenaError) -> ControlMessage {
        var reader = ByteReader(bytes, "control message")
        let number = try reader.take(UInt32.self)
        switch Number(rawValue: number) {
        // Later versions may say more.
        case .hello: return .hello(ControlVersion(number: try reader.take(), package: try reader.takeCountedString()))
        case .settings: return .settings(try Settings(from: &reader))
        case .hold:
            var keeps: [Keep] = []
            while !reader.isAtEnd { keeps.append(try reader.takeKeep()) }
            return .hold(keeps)
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
        case .keep: return .keep(try reader.takeKeep())
        case .release:
            var slots: [DescriptorSlot] = []
            while !reader.isAtEnd { slots.append(DescriptorSlot(try reader.take())) }
            return .release(slots)
        case .load:
            let attempt = try reader.take(UInt32.self)
            return .load(image: try reader.takeCountedString(), attempt: attempt)
        case .standby:
            let attempt = try reader.take(UInt32.self)
            var formats: [String] = []
            while !reader.isAtEnd { formats.append(try reader.takeCountedString()) }
            return .standby(formats: formats, attempt: attempt)
        case .replaceKeeper:
            let attempt = try reader.take(UInt32.self)
            return .replaceKeeper(image: try reader.takeCountedString(), attempt: attempt)
        case .keeperReplaced: return .keeperReplaced(attempt: try reader.take())
        case .handOver:
            let attempt = try reader.take(UInt32.self)
            guard let what = HandOver(rawValue: try reader.take()) else { break }
            return .handOver(what, note: [UInt8](bytes.dropFirst(9)), attempt: attempt)
        case .prepare:
            let attempt = try reader.take(UInt32.self)
            return .prepare(Extent(offset: try reader.take(), length: try reader.take()), attempt: attempt)
        case .prepared: return .prepared(attempt: try reader.take())
        case .ready: return .ready
        case .answered: return .answered
        case .go: return .go
        case .failed:
            let attempt = try reader.take(UInt32.self)
            return .failed(try reader.takeCountedString(), attempt: attempt)
        case .adopt: return .adopt
        case .adopted: return .adopted(process: try reader.take(), nextSlot: try reader.take())
        case .stored: return .stored(try reader.take(UInt8.self) != 0)
        case .ending: return .ending
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

extension String {
    /// The beginning of the text, of at most so many bytes. One character can have any number of bytes.
    fileprivate func cut(toBytes most: Int) -> String {
        utf8.count <= most ? self : String(decoding: utf8.prefix(most), as: UTF8.self)
    }
}

extension ByteWriter {
    mutating func put(_ keep: Keep) {
        put(keep.slot.number)
        put(keep.kind.rawValue)
        put(keep.label.user)
        put(keep.label.boot)
        put(keep.label.traits.rawValue)
        put(keep.label.cookie)
    }
}

extension ByteReader {
    mutating func takeKeep() throws(ArenaError) -> Keep {
        let slot = DescriptorSlot(try take())
        let number = try take(UInt32.self)
        var label = KeepLabel()
        label.user = try take()
        label.boot = try take()
        label.traits = KeepLabel.Traits(rawValue: try take())
        label.cookie = try take()
        guard let kind = DescriptorKind(rawValue: number) else { throw ArenaError(.record, "kind \(number)") }
        return Keep(slot: slot, kind: kind, label: label)
    }
}

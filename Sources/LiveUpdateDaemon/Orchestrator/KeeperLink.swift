// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdateMachine
import LiveUpdatePlatform
import LiveUpdateProtocol
import Logging
import SystemPackage

/// The link to the keeper, as long as there is one.
///
/// 1. Without a keeper luod continues to serve, but cannot update: no process would start the next image.
/// 2. A keeper that does not read is given up (``giveUp()``). It notices the end of the link.
/// 3. Another keeper can replace a dead one: ``adopt(from:)``.
final class KeeperLink {
    private var link: ControlLink?
    private let store: DescriptorMirror
    private let work: WorkQueue
    private let memory: ControlMemory?
    private let watch: KeeperWatch
    private let log: Log

    /// Begins with a link to the keeper. Without a link there is no keeper. The keeper is watched through the memory
    /// that keeper and orchestrator share, and not watched without it. `silence` is ``Settings/silence``.
    init(
        _ link: ControlLink?, _ store: DescriptorMirror, _ work: WorkQueue, _ memory: ControlMemory?, silence: UInt64,
        _ log: Log
    ) {
        self.link = link
        self.store = store
        self.work = work
        self.log = log
        self.memory = memory
        watch = KeeperWatch(memory, patience: silence, log)
    }

    // MARK: Looking

    /// Whether there is a keeper.
    var isThere: Bool { link != nil }

    /// The keeper's process; nil when there is none.
    var process: CInt? { try? link?.descriptor.peer().process }

    /// Whether the keeper does not answer.
    var isSilent: Bool { watch.isSilent }

    /// Whether a signal or a tracer has stopped the process of a keeper that does not answer.
    var isStopped: Bool { isSilent && process.flatMap { SeenProcess($0) }?.isStopped == true }

    /// Whether the keeper has found that the arena's name was removed.
    var hasRemovedArena: Bool { memory?.arenaIsRemoved ?? false }

    /// The error for which the keeper was given up; nil while it reads.
    var deafness: SystemCallError? { store.deafness }

    /// Whether a descriptor belongs to this link.
    func isLink(_ descriptor: FileDescriptor) -> Bool { link?.descriptor == descriptor }

    /// Counts a turn of this process's loop, and looks at the keeper when it is time.
    func tick() { watch.tick(link) }

    // MARK: Messages

    /// Waits for messages of the keeper from now on.
    func open() throws(SystemCallError) {
        if let link { try work.watch(link.descriptor, for: .reading) }
    }

    /// Sends a message.
    ///
    /// - Throws: ENOTCONN without a keeper; otherwise as ``ControlLink/send(_:_:patience:inShortage:)``.
    func send(_ message: ControlMessage, _ descriptors: [FileDescriptor] = []) throws(SystemCallError) {
        guard let link else { throw SystemCallError("sendmsg", .socketNotConnected) }
        try link.send(message, descriptors)
    }

    /// The result of looking for a message.
    enum Next {
        case message(ControlLink.Received)
        case nothing
        /// The keeper has ended.
        case end
    }

    /// The next message, if there is one already.
    func next() -> Next {
        guard let link else { return .nothing }
        do throws(SystemCallError) {
            return try link.receive(.now).map { .message($0) } ?? .end
        } catch {
            return .nothing
        }
    }

    /// Waits for a message as long as the keeper answers or lives.
    ///
    /// - Returns: nil when the keeper has gone.
    func receive() -> ControlLink.Received? { link.flatMap { watch.receive(from: $0) } }

    /// Handles a message about the descriptors that the keeper holds.
    func note(_ received: ControlLink.Received) {
        switch received.message {
        case .stored(let isStored): store.isStored = isStored
        case .closing(let user, let count): store.noteKeeperClosing(count, of: user)
        case .room(let room): store.noteKeeperRoom(room)
        default: break
        }
        for descriptor in received.descriptors { try? closeDescriptor(descriptor) }
    }

    // MARK: Counters

    /// Counts an event in the memory that keeper and orchestrators share.
    func count(_ counter: Counter) { memory?.count(counter) }

    /// Counts a blackout, in nanoseconds.
    func count(blackout: UInt64) { memory?.count(blackout: blackout) }

    /// All counters.
    var counters: [LuodStatus.Counter]? { memory?.counters }

    /// All blackouts.
    var blackouts: LuodStatus.Blackouts? { memory?.blackouts }

    // MARK: Losing and adopting

    /// Continues without a keeper until another one replaces it.
    func giveUp() {
        log.say(
            "the keeper is gone: serving goes on, updates do not; start luod on this state to take its place", .error)
        if let link {
            memory?.count(.death(.keeper, isSilent ? .silence : .unknown))
            work.unwatch(link.descriptor)
            // If the keeper still runs, it learns here that it was given up.
            link.shutDown()
        }
        store.use(nil)
        link = nil
    }

    /// Lets a keeper replace a dead one. The permissions of the control socket let only root connect.
    func adopt(from listener: FileDescriptor) {
        guard let accepted = try? listener.acceptConnection() else { return }
        let other = ControlLink(accepted)
        // A keeper of another version reads this version and gives up.
        try? other.send(.hello(.own))
        guard case .hello(let version) = first(of: other), version.isOwn, first(of: other) == .adopt else { return }
        guard link == nil else {
            let remedy = "luoctl update replaces its program, and --state names another state"
            try? other.send(.update(.failed("luod runs on this state already: process \(process ?? 0); \(remedy)")))
            return
        }
        do {
            try other.send(holding: store.all)
            let own = try RunningProcess(getpid())
            try other.send(.adopted(process: own.id, nextSlot: store.nextSlot), [own.descriptor])
            try work.watch(other.descriptor, for: .reading)
            store.use(other)
            link = other
            log.say("a new keeper has taken the place of the one that died")
        } catch {
            log.say("a new keeper could not take the place: \(error)", .error)
            let why = "the orchestrator could not give all that it holds to another keeper: \(error)"
            try? other.send(.update(.failed(why)))
        }
    }

    /// The first message of a new keeper, which must be there within 50 ms.
    private func first(of link: ControlLink) -> ControlMessage? {
        guard link.descriptor.isReadable(within: 50), let received = try? link.receive(.now) else { return nil }
        for descriptor in received.descriptors { try? closeDescriptor(descriptor) }
        return received.message
    }
}

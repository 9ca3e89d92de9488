// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// The orchestrator's copies of the descriptors that the keeper holds. A descriptor is given to the keeper before the
/// journal names its slot, and released after the answer was sent. The next orchestrator therefore always finds every
/// descriptor that the journal names.
///
/// No slot is used twice. The calling thread closes no descriptor of a client, because a close may sleep (``Closer``).
final class DescriptorMirror: DescriptorStore {
    let closer: Closer
    /// Whether the memory of files is measured. This is needed only if a user has a limit on it.
    let measuresMemory: Bool
    private let state = Guarded(State())

    init(_ closer: Closer, measuresMemory: Bool = false) {
        self.closer = closer
        self.measuresMemory = measuresMemory
    }

    private struct State: Sendable {
        var table = SlotTable()
        var keeper: ControlLink?
        var deafness: SystemCallError?
        /// Slots with changes that could not be sent to the keeper, because of a shortage.
        var unsent: Set<DescriptorSlot> = []
        /// Whether a service manager stores the held descriptors.
        var isStored = false
        /// The number of descriptors that wait to be closed in the keeper, for users with many.
        var keeperClosing: [UInt32: Int] = [:]
        var keeperRoom = KeeperRoom.forAll
    }

    private func entry(_ descriptor: FileDescriptor, _ kind: DescriptorKind, _ label: DescriptorLabel) -> HeldDescriptor
    {
        let use = measuresMemory && kind == .file ? MemoryUse(of: descriptor) : nil
        return HeldDescriptor(descriptor: descriptor, kind: kind, label: label, memory: use)
    }

    // MARK: Memory

    /// The bytes of a user's files with the page size of `use`, including that file.
    func memory(of user: UInt32, with use: MemoryUse) -> UInt64 {
        state.with { $0.table.memory(of: user, with: use) }
    }

    /// The memory of all users' files, in bytes by page size.
    var memory: [UInt32: [PageSize: UInt64]] { state.with { $0.table.memoryOfUsers } }

    /// Reads the memory of several files again, because a file may have been filled since. Only the thread that
    /// releases slots may call this.
    func readMemoryAgain(atMost most: Int) {
        guard measuresMemory else { return }
        let some = state.with { $0.table.takeUnread(atMost: most) }
        for (slot, entry) in some where entry.memory != nil {
            guard let use = MemoryUse(of: entry.descriptor) else { continue }
            state.with { $0.table.noteMemory(use, in: slot) }
        }
    }

    // MARK: The keeper

    /// Sends every change of held descriptors to this keeper from now on; nil: to no keeper.
    func use(_ keeper: ControlLink?) {
        state.with { state in
            state.keeper = keeper
            state.deafness = nil
            state.keeperClosing = [:]
            state.keeperRoom = .forAll
        }
    }

    /// The error for which the keeper was given up; nil while it reads.
    var deafness: SystemCallError? { state.with { $0.deafness } }

    /// Takes over the descriptors that a keeper has sent. A descriptor that is already held may come again with a new
    /// label.
    func hold(_ slots: [HeldSlot], _ descriptors: [FileDescriptor]) {
        let entries = zip(slots, descriptors).map { ($0.slot, entry($1, $0.kind, $0.label)) }
        let replaced = state.with { state in entries.compactMap { state.table.replace($0, with: $1) } }
        for entry in replaced {
            // The new copy is of the same socket, or of the socket that replaces one without a name. The close of the
            // old copy ends no accepted connection.
            if entry.kind.isOwnSocket { try? closeDescriptor(entry.descriptor) } else { close(entry) }
        }
    }

    /// Releases the slots that the keeper has released.
    func drop(_ slots: [DescriptorSlot]) {
        let gone = state.with { state in slots.compactMap { state.table.remove($0) } }
        for entry in gone { close(entry) }
    }

    private func close(_ entry: HeldDescriptor) {
        if entry.kind.isOwnSocket {
            close(ownSocket: entry.descriptor, of: entry.label.user)
        } else {
            closer.close(held: entry.descriptor, of: entry.label.user)
        }
    }

    func begin(nextSlot: Int64) { state.with { $0.table.begin(at: nextSlot) } }

    /// All held descriptors, for another keeper to take over.
    var all: [(held: HeldSlot, descriptor: FileDescriptor)] {
        state.with { $0.table.all }.map { slot, entry in
            (HeldSlot(slot: slot, kind: entry.kind, label: entry.label), entry.descriptor)
        }
    }

    /// The number of descriptors that are held or wait to be closed.
    var count: Int { state.with { $0.table.count } + closer.pending }

    /// The number of a user's descriptors that wait to be closed, here or in the keeper. It includes closes that will
    /// end soon.
    func pendingCloses(of user: UInt32) -> Int { max(closer.pending(of: user), closingInKeeper(of: user)) }

    /// The number of a user's descriptors that wait to be closed because a close sleeps.
    func closing(of user: UInt32) -> Int { closer.stalled(of: user) }

    /// The number of a user's descriptors that wait to be closed in the keeper, if the keeper has reported many.
    func closingInKeeper(of user: UInt32) -> Int { state.with { $0.keeperClosing[user] ?? 0 } }

    /// Notes the keeper's report of how many descriptors of a user wait to be closed there.
    func noteKeeperClosing(_ count: Int, of user: UInt32) {
        state.with { $0.keeperClosing[user] = count == 0 ? nil : count }
    }

    /// Notes the keeper's report of the users that it has room for.
    func noteKeeperRoom(_ room: KeeperRoom) { state.with { $0.keeperRoom = room } }

    /// Whether a service manager stores the descriptors that the keeper holds. The keeper reports this.
    var isStored: Bool {
        get { state.with { $0.isStored } }
        set { state.with { $0.isStored = newValue } }
    }

    /// Whether only descriptors of luod itself are held: no client, no session, no file.
    var holdsOnlyState: Bool { state.with { $0.table.holdsOnlyState } }

    var nextSlot: Int64 { state.with { $0.table.next } }

    // MARK: Keeping

    /// Closes descriptors that came from a client and are in no slot.
    func close(_ descriptors: [FileDescriptor], of user: UInt32) { closer.close(descriptors, of: user) }

    /// Closes one of luod's own sockets, which no client holds.
    func close(ownSocket: FileDescriptor, of user: UInt32) { closer.close(ownSocket: ownSocket, of: user) }

    /// Closes a copy of a descriptor that a slot holds, too. A copy of a memory file is closed on this thread, because
    /// that close never sleeps.
    func close(copy descriptor: FileDescriptor, of user: UInt32) {
        if (try? descriptor.hasSeals()) == true {
            try? closeDescriptor(descriptor)
        } else {
            close([descriptor], of: user)
        }
    }

    /// Takes the messages out of one of luod's own sockets, which will be closed. The closer can then switch off
    /// SO_LINGER of each descriptor in them. A descriptor that stayed in the queue would delay the close of the socket
    /// itself.
    func drain(_ socket: FileDescriptor, of user: UInt32) {
        socket.shutDown()
        // A queue of sockets has room for a few hundred messages. If this process has no room for a descriptor, the
        // kernel closes it here.
        _ = drain(socket, of: user, atMost: 512)
    }

    /// Takes some messages out of one of luod's own sockets, after its client has closed it.
    ///
    /// - Returns: whether no message is left, or luod has no room for the descriptors of another one.
    func drain(_ socket: FileDescriptor, of user: UInt32, atMost messages: Int) -> Bool {
        let limit = DescriptorLimit.now
        let most = limit - min(limit / 2, 2 * MessageSocket.mostDescriptors)
        for _ in 0..<messages {
            guard pendingCloses(of: user) < Quota.mostPending, count < most, socket.hasMessage else { return true }
            // A message may have no bytes and no descriptors.
            if let message = try? socket.receive(.now) { close(message.descriptors, of: user) }
        }
        return false
    }

    /// Changes the label of a descriptor, here and in the keeper.
    func relabel(_ slot: DescriptorSlot, _ label: DescriptorLabel) {
        let (entry, keeper) = state.with { ($0.table.relabel(slot, label), $0.keeper) }
        guard let entry else { return }
        tell(keeper, .keep(HeldSlot(slot: slot, kind: entry.kind, label: label)), [entry.descriptor])
    }

    /// Holds a descriptor. The store owns it from now on. Without a keeper only this process holds it. In a shortage
    /// this waits at most `patience` milliseconds.
    ///
    /// - Throws: the errno of a shortage that lasts, such as ETOOMANYREFS. In this case the descriptor is closed, and
    ///   nothing else has changed.
    func take(
        _ descriptor: consuming OwnedDescriptor, _ kind: DescriptorKind, _ label: DescriptorLabel = DescriptorLabel(),
        patience: Int = 100
    ) throws(SystemCallError) -> DescriptorSlot {
        let (slot, keeper) = state.with { ($0.table.allocate(), $0.keeper) }
        let descriptor = descriptor.release()
        do throws(SystemCallError) {
            try send(keeper, .keep(HeldSlot(slot: slot, kind: kind, label: label)), [descriptor], patience)
        } catch {
            closer.close(descriptor, of: label.user)
            throw error
        }
        let entry = entry(descriptor, kind, label)
        state.with { $0.table.add(entry, slot) }
        return slot
    }

    func keep(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> DescriptorSlot {
        try keep(descriptor, for: 0)
    }

    /// No other thread closes the descriptors of a request, so the descriptor still is the identified file.
    func keep(
        _ descriptor: FileDescriptor, of file: FileIdentity, for user: SessionUser
    ) throws(LiveUpdateError) -> DescriptorSlot {
        try keep(descriptor, for: user)
    }

    func keep(_ descriptor: FileDescriptor, for user: SessionUser) throws(LiveUpdateError) -> DescriptorSlot {
        do {
            return try take(try descriptor.duplicated(), .file, DescriptorLabel(user: user))
        } catch {
            throw LiveUpdateError(error, "keeping a descriptor")
        }
    }

    /// Releases a slot after the current request has been answered: with ``flush(atMost:)``.
    func release(_ slot: DescriptorSlot) { state.with { $0.table.release(slot) } }

    /// Releases slots at once.
    func release(now slots: [DescriptorSlot]) {
        for slot in slots { release(slot) }
        flush()
    }

    /// Whether ``flush(atMost:)`` has left released slots.
    var hasReleased: Bool { state.with { $0.table.hasReleased } }

    /// Removes slots that were released, here and in the keeper, and closes their descriptors.
    ///
    /// - Parameter most: how many slots at a time. Few after a request, because the loop removes the rest without a
    ///   charge.
    func flush(atMost most: Int = 16) {
        let (released, keeper) = state.with { ($0.table.takeReleased(atMost: most), $0.keeper) }
        sendUnsent(keeper)
        guard !released.isEmpty else { return }
        tellReleased(keeper, released.map(\.slot))
        for (_, entry) in released { close(entry) }
    }

    /// Sends the keeper the changes that a shortage has delayed, and only the last change of each slot.
    private func sendUnsent(_ keeper: ControlLink?) {
        guard state.with({ !$0.unsent.isEmpty }) else { return }
        let (held, released) = state.with { state in
            defer { state.unsent = [] }
            let held = state.unsent.compactMap { slot in state.table[slot].map { (slot, $0) } }
            return (held, state.unsent.filter { state.table[$0] == nil })
        }
        for (slot, entry) in held {
            tell(keeper, .keep(HeldSlot(slot: slot, kind: entry.kind, label: entry.label)), [entry.descriptor])
        }
        tellReleased(keeper, [DescriptorSlot](released))
    }

    /// Tells the keeper about released slots, in messages short enough for the keeper.
    private func tellReleased(_ keeper: ControlLink?, _ slots: [DescriptorSlot]) {
        for batch in stride(from: 0, to: slots.count, by: 500) {
            tell(keeper, .release([DescriptorSlot](slots[batch..<min(slots.count, batch + 500)])), [])
        }
    }

    /// Tells the keeper about slots that it knows already. A shortage delays this.
    private func tell(_ keeper: ControlLink?, _ message: ControlMessage, _ descriptors: [FileDescriptor]) {
        do throws(SystemCallError) {
            try send(keeper, message, descriptors, 100)
        } catch {
            state.with { $0.unsent.formUnion(message.slots) }
        }
    }

    /// Sends the keeper a message. A keeper that has gone, or that does not read for a second, is given up.
    ///
    /// - Throws: a shortage that lasts, which is not the keeper's fault; EMFILE when the keeper has no room.
    private func send(
        _ keeper: ControlLink?, _ message: ControlMessage, _ descriptors: [FileDescriptor], _ patience: Int
    ) throws(SystemCallError) {
        guard let keeper else { return }
        if case .keep(let held) = message, !state.with({ $0.keeperRoom }).admits(held.label.user) {
            // The message would stay in the queue, with all later messages behind it.
            throw SystemCallError("sendmsg", .tooManyOpenFiles)
        }
        do throws(SystemCallError) {
            try keeper.send(message, descriptors, patience: 1000, inShortage: patience)
        } catch {
            // A shortage or a message that is too long says nothing about the keeper.
            if error.isShortage || error.errno == .messageTooLong { throw error }
            use(nil)
            state.with { $0.deafness = error }
        }
    }

    // MARK: Looking

    func entry(_ slot: DescriptorSlot) -> HeldDescriptor? { state.with { $0.table[slot] } }

    func slots(_ kind: DescriptorKind) -> [DescriptorSlot] {
        state.with { $0.table.slots(kind) }.sorted { $0.number < $1.number }
    }

    func descriptor(_ kind: DescriptorKind) -> FileDescriptor? {
        slots(kind).first.flatMap { entry($0)?.descriptor }
    }

    func descriptor(in slot: DescriptorSlot) -> FileDescriptor? { entry(slot)?.descriptor }

    func newIdentity(of slot: DescriptorSlot) -> FileIdentity? {
        guard let entry = entry(slot), entry.label.traits.contains(.cameWithKernel) else { return nil }
        return try? identify(entry.descriptor)
    }

    func identify(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> FileIdentity {
        do {
            // This asks no file system, because that of a client's file may not answer.
            return try FileStatus(cached: descriptor).identity
        } catch {
            throw LiveUpdateError(error.errno, "no open descriptor came with the request: \(error.call)")
        }
    }

    /// - Throws: EBADF for a descriptor that is only a path (O_PATH). Such a descriptor gives no right to the file.
    func admit(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> FileIdentity {
        let identity = try identify(descriptor)
        guard (try? descriptor.isPathOnly()) == false else {
            throw LiveUpdateError(
                .badFileDescriptor, "the descriptor is only a path (O_PATH)", remedy: "open the file, and pass that")
        }
        return identity
    }

    /// The slot of the socket that has this cookie at its other end.
    func slot(withCookie cookie: UInt64) -> DescriptorSlot? { state.with { $0.table.slot(withCookie: cookie) } }

    /// Whether a descriptor is a session, an opened device, or a connection to luod.
    func isOwnSocket(_ descriptor: FileDescriptor) -> Bool {
        guard descriptor.isMessageSocket else { return false }
        if let cookie = try? descriptor.socketCookie(), slot(withCookie: cookie) != nil { return true }
        guard let name = descriptor.peerName, !name.isEmpty else { return false }
        return [DescriptorKind.listener, .rootListener, .control].contains { self.descriptor($0)?.ownName == name }
    }
}

extension ControlMessage {
    /// The slots that a message to the keeper is about.
    fileprivate var slots: [DescriptorSlot] {
        switch self {
        case .keep(let held): [held.slot]
        case .release(let slots): slots
        default: []
        }
    }
}

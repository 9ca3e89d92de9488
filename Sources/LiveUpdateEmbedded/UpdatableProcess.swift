public import Handover
public import LiveUpdate
public import Platform
public import SystemPackage

/// A process that replaces itself and keeps its files: the embedded way of running, without a daemon.
///
/// 1. ``init(arena:at:existing:_:)`` begins a boot: the first one, or the one after an update, when the image that ran
///    before has left its arena's descriptor in `LUO_ARENA_FD`. Kept descriptors are closed on exec again.
/// 2. The program uses ``orchestrator``.
/// 3. ``reboot(into:discardingUnfinished:)`` freezes, publishes, and becomes the next image by execve(2), with the arena
///    and the kept descriptors inherited, and nothing else of ours.
///
/// Unhappy: a freeze or an execve that fails thaws, and the program goes on as before. Past execve's point of no return
/// there is no way back. A process that dies takes its memory files with it; what it had on hugetlbfs by name, and an
/// arena in a file, stay: the next process that begins with that arena goes on where it died. If it died in an update,
/// that is the next boot; if not, it is the same boot, and ``/LiveUpdate/Orchestrator/openSessions`` has its sessions.
///
/// Begin it before other threads run: the environment is changed. An update ends all threads, as execve does.
public final class UpdatableProcess: Sendable {
    /// The variable that names the arena's descriptor.
    public static let variable = "LUO_ARENA_FD"

    /// What does the work.
    public let orchestrator: Orchestrator

    private let arena: Arena
    private let descriptors = InheritedDescriptors()

    /// Begins a boot.
    ///
    /// - Parameters:
    ///   - options: how the arena is made, when this is the first boot, and how far it may grow.
    ///   - path: a file to have the arena in, on tmpfs (/dev/shm, /run) or a hugetlbfs or DAX mount; made when it is not
    ///     there. Without one it is a memory file, which dies with the process. After an update the inherited one is used.
    ///   - existing: whether it must be there already, and is not made: for a program that looks for the state of
    ///     another one.
    ///   - register: registers handlers and FLBs, in the same way at every boot; without it, those of this package.
    /// - Throws: ENOENT when an `existing` one is not there, EAGAIN when another process runs the arena of that path,
    ///   EACCES when others may write to it; EBADF or EIO when `LUO_ARENA_FD` does not name an arena, EIO when it
    ///   cannot be read (see ``/LiveUpdate/Orchestrator/open()``), and what `register` throws. The variable and all
    ///   descriptors are as before then: this process can still become an image that can read it.
    public init(
        arena options: Arena.Options = Arena.Options(), at path: FilePath? = nil, existing: Bool = false,
        _ register: (Orchestrator) throws(LiveUpdateError) -> Void = { (luo) throws(LiveUpdateError) in
            try luo.registerStandardHandlers()
        }
    ) throws(LiveUpdateError) {
        try ImageFormats.answerIfAsked(options, register)
        let inherited = try Self.inheritedArena()
        arena =
            if let inherited {
                try Self.open(inherited, options)
            } else if let path {
                try ArenaFile.open(path, options, existing: existing)
            } else {
                try Self.make(options)
            }
        orchestrator = Orchestrator(arena: arena, descriptors: descriptors)
        try register(orchestrator)
        try orchestrator.open()
        setCloseOnExec(try orchestrator.slots().compactMap(descriptors.descriptor))
        try orchestrator.finishDiscarded()
        if let inherited {
            takeEnvironmentVariable(Self.variable)
            try? closeDescriptor(inherited)
        }
    }

    /// The descriptor that the image before this one left.
    private static func inheritedArena() throws(LiveUpdateError) -> FileDescriptor? {
        guard let value = environmentVariable(variable) else { return nil }
        guard let number = CInt(value), number >= 0 else {
            throw LiveUpdateError(
                .badFileDescriptor, "\(variable)=\(value) is no descriptor",
                remedy: "leave the variable unset to begin with nothing; UpdatableProcess sets it over an update")
        }
        return FileDescriptor(rawValue: number)
    }

    /// A copy is opened, so that whatever goes wrong the descriptor is still there.
    private static func open(
        _ inherited: FileDescriptor, _ options: Arena.Options
    ) throws(LiveUpdateError) -> Arena {
        let copy: FileDescriptor
        do throws(SystemCallError) {
            copy = try inherited.duplicated().release()
        } catch {
            throw LiveUpdateError(error, "\(variable)=\(inherited.rawValue) is no descriptor")
        }
        do {
            return try Arena(opening: OwnedDescriptor(taking: copy), options)
        } catch {
            throw LiveUpdateError(error)
        }
    }

    static func make(_ options: Arena.Options) throws(LiveUpdateError) -> Arena {
        do {
            return try Arena.make(options)
        } catch {
            throw LiveUpdateError(error)
        }
    }

    /// Asks an image which formats it knows, before anything is frozen: past execve there is no way back. It is started
    /// for that, and answers when it begins its ``UpdatableProcess``; what it does before that, it does.
    ///
    /// - Throws: ENOTSUP when it lacks a format that is in use (the message names it), or does not answer within five
    ///   seconds; ENOENT, EACCES and what else execve(2) lists.
    public func check(_ image: ProgramImage) throws(LiveUpdateError) {
        let known = try ImageFormats.ask(image)
        let status = try orchestrator.status()
        let files = status.sessions.filter { $0.direction == .outgoing }.flatMap(\.files).map(\.compatible)
        let flbs = status.flbs.filter { $0.direction == .outgoing }.map(\.compatible)
        for compatible in Set(files + flbs).sorted() where !known.contains(compatible) {
            throw LiveUpdateError(
                .notSupported, "\(image.path) does not know \"\(compatible)\", which is in use",
                remedy: "update to an image that registers a handler for it")
        }
    }

    /// Becomes the next image. Returns only by throwing. It does not ``check(_:)`` the image: do that before.
    ///
    /// - Parameters:
    ///   - image: this program or another that registers the same handlers.
    ///   - discard: whether to lose incoming sessions that are unfinished.
    /// - Throws: what ``/LiveUpdate/Orchestrator/publish(discardingUnfinished:)`` throws, and what execve(2)
    ///   answers (ENOENT, EACCES, ENOEXEC, E2BIG …). Everything is as before then.
    public func reboot(
        into image: ProgramImage, discardingUnfinished discard: Bool = false
    ) throws(LiveUpdateError) -> Never {
        let slots = try orchestrator.publish(discardingUnfinished: discard, leavingOut: false)
        do throws(SystemCallError) {
            try execute(image, keeping: slots)
        } catch {
            closeOnExec(slots)
            try orchestrator.thaw()
            throw LiveUpdateError(error, "becoming \(image.path)")
        }
    }

    private func execute(_ image: ProgramImage, keeping slots: [DescriptorSlot]) throws(SystemCallError) -> Never {
        try arena.descriptor.setCloseOnExec(false)
        for slot in slots { try descriptors.descriptor(in: slot)?.setCloseOnExec(false) }
        try image.setting(Self.variable, "\(arena.descriptor.rawValue)").execute()
    }

    private func closeOnExec(_ slots: [DescriptorSlot]) {
        setCloseOnExec([arena.descriptor] + slots.compactMap(descriptors.descriptor))
    }
}

// SPDX-License-Identifier: Apache-2.0
public import LiveUpdateCore
public import LiveUpdateHandover
public import LiveUpdatePlatform
public import SystemPackage

/// A process that replaces itself and holds its files: the embedded way of running, without a daemon.
///
/// 1. ``init(arena:at:existing:_:)`` begins a boot: the first one, or the next one after an update, when the old image
///    has left its arena's descriptor in `LUO_ARENA_FD`, or has started this process for a hand-over
///    (`LUO_HAND_OVER_FD`). Held descriptors are closed on exec again.
/// 2. The program calls ``ready()``, and uses ``orchestrator``.
/// 3. ``handOver(to:discardingUnfinished:patience:)`` starts the next image beside this process. This process serves
///    until the image calls ``ready()``, and can call the hand-over off.
///
/// A process that must keep its number calls ``reboot(into:discardingUnfinished:unchecked:)`` instead, which freezes,
/// publishes, and becomes the next image by execve(2). The next image inherits the arena and the held descriptors, and
/// nothing else of this library.
///
/// Unhappy: if a freeze or the execve fails, the boot thaws and the program goes on as before. After execve's point of
/// no return there is no way back. If a process dies, its memory files are lost, but its files with a name on hugetlbfs
/// and an arena in a file stay. The next process that begins with that arena goes on from there. If the process died in
/// an update, that is the next boot. If not, it is the same boot, and
/// ``/LiveUpdateCore/Orchestrator/openSessions`` returns its sessions.
///
/// Make it before other threads run, because it changes the environment. `reboot` ends all threads, as execve does.
public final class UpdatableProcess: Sendable {
    /// The variable that names the arena's descriptor.
    public static let variable = "LUO_ARENA_FD"

    /// The orchestrator of the boot.
    public let orchestrator: Orchestrator

    private let arena: Arena
    private let descriptors: InheritedDescriptors
    /// The link to the old process, until ``ready()``.
    private let waiting: Guarded<WaitingImage?>
    /// Whether a hand-over or an update in place is under way.
    private let isHandingOver = Guarded(false)

    /// Begins a boot.
    ///
    /// - Parameters:
    ///   - options: how the arena is made, when this is the first boot, and how far it may grow.
    ///   - path: the file of the arena, on tmpfs (/dev/shm, /run) or a hugetlbfs or DAX mount. It is made if it does
    ///     not exist. Without a path, the arena is a memory file, which is lost with the process. After an update the
    ///     inherited arena is used.
    ///   - existing: whether the file must exist and is not made, for a program that looks for the state of another
    ///     program.
    ///   - register: registers handlers and FLBs, in the same way at every boot. The default registers those of this
    ///     package.
    /// - Throws: ENOENT when an `existing` file does not exist, EAGAIN when another process runs the arena of that
    ///   path, EACCES when others may write to it; EBADF or EIO when `LUO_ARENA_FD` does not name an arena, EBADF when
    ///   `LUO_HAND_OVER_FD` does not name the link of a hand-over, EIO when the arena cannot be read (see
    ///   ``/LiveUpdateCore/Orchestrator/open()``), and the errors of `register`. `LUO_ARENA_FD` and all descriptors are
    ///   as before then, so this process can still become an image that can read the arena. In a process that was
    ///   started for a hand-over, the old process learns the error and goes on.
    public init(
        arena options: Arena.Options = Arena.Options(), at path: FilePath? = nil, existing: Bool = false,
        _ register: (Orchestrator) throws(LiveUpdateError) -> Void = { (luo) throws(LiveUpdateError) in
            try luo.registerStandardHandlers()
        }
    ) throws(LiveUpdateError) {
        try ImageFormats.answerIfAsked(options, register)
        descriptors = InheritedDescriptors()
        if let link = try WaitingImage.inheritedLink() {
            let image = try WaitingImage(link, options, descriptors)
            arena = image.arena
            orchestrator = Orchestrator(arena: arena, descriptors: descriptors, opening: .onTrial)
            waiting = Guarded(try Self.gather(image, orchestrator, register))
            return
        }
        waiting = Guarded(nil)
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

    /// Registers the handlers of an image that was started for a hand-over, and gets all held descriptors.
    private static func gather(
        _ image: WaitingImage, _ orchestrator: Orchestrator,
        _ register: (Orchestrator) throws(LiveUpdateError) -> Void
    ) throws(LiveUpdateError) -> WaitingImage {
        var image = image
        do throws(LiveUpdateError) {
            try register(orchestrator)
            try image.gather(orchestrator)
            return image
        } catch {
            image.fail(error)
            throw error
        }
    }

    /// The descriptor of the arena that the old image has left; nil without one.
    private static func inheritedArena() throws(LiveUpdateError) -> FileDescriptor? {
        guard let value = environmentVariable(variable) else { return nil }
        guard let number = CInt(value), number >= 0 else {
            throw LiveUpdateError(
                .badFileDescriptor, "\(variable)=\(value) is no descriptor",
                remedy: "leave the variable unset to begin with nothing; UpdatableProcess sets it over an update")
        }
        return FileDescriptor(rawValue: number)
    }

    /// Opens a copy of the inherited descriptor, so that the descriptor is still there after a failure.
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

    /// Asks an image which formats it knows, before anything is frozen, because there is no way back after execve. The
    /// image is started for that, and answers when it begins its ``UpdatableProcess``. Everything that its program does
    /// before that is done, too.
    ///
    /// - Throws: ENOTSUP when the image lacks a format that is in use (the message names it), or does not answer within
    ///   five seconds; ENOENT, EACCES and the other errors of execve(2).
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

    /// Begins a hand-over: starts the next image beside this process. This process serves until
    /// ``HandOver/complete()``, and can call the hand-over off before. See ``HandOver``.
    ///
    /// The image is a new process with another number. It inherits everything that execve(2) passes on. Children,
    /// threads, and descriptors that are not preserved stay with this process, and end with it.
    ///
    /// - Parameters:
    ///   - image: this program, or another program that registers the same handlers and calls ``ready()``.
    ///   - discard: whether to hand over although incoming sessions are unfinished. These sessions are lost then.
    ///   - patience: the longest time until the image is ready.
    /// - Returns: the hand-over.
    /// - Throws: EBUSY when a hand-over is under way, or when incoming sessions are unfinished and may not be lost;
    ///   EAGAIN before ``ready()``, ENODEV when the boot has ended, EIO when the state cannot be read, EMFILE. An image
    ///   that cannot be started is an error of the calls of ``HandOver``.
    public func handOver(
        to image: ProgramImage, discardingUnfinished discard: Bool = false, patience: Duration = .seconds(60)
    ) throws(LiveUpdateError) -> HandOver {
        try orchestrator.open()
        if !discard { try orchestrator.checkUnfinished() }
        try beginHandOver()
        let milliseconds = UInt64(max(0, min(patience / .milliseconds(1), 1e15)))
        do throws(SystemCallError) {
            let runner = try HandOverRunner(
                orchestrator, arena, descriptors, image, discards: discard, patience: milliseconds)
            return HandOver(runner, of: self)
        } catch {
            endHandOver()
            throw LiveUpdateError(error, "handing over to \(image.path)")
        }
    }

    private func beginHandOver() throws(LiveUpdateError) {
        guard
            isHandingOver.with({ isRunning in
                defer { isRunning = true }
                return !isRunning
            })
        else {
            throw LiveUpdateError(
                .resourceBusy, "a hand-over is under way", remedy: "wait until it has ended, or call it off")
        }
    }

    func endHandOver() { isHandingOver.with { $0 = false } }

    /// Whether this process was started for a hand-over and has not called ``ready()`` yet.
    public var isWaiting: Bool { waiting.with { $0 != nil } }

    /// Tells the old process that this program is prepared, and takes over from it. A program calls this once, before
    /// it uses ``orchestrator`` and before it serves. In a process that was not started for a hand-over, this returns
    /// at once.
    ///
    /// In a process that was started for a hand-over, every request to ``orchestrator`` fails with EAGAIN until this
    /// call returns. The call returns when the boot has begun. If the old process calls the hand-over off, or if the
    /// boot cannot begin, this process ends with the exit code 1, and the old process goes on.
    ///
    /// If the old process has died, this process goes on alone with the descriptors that it has got: if the state was
    /// published, as the next boot, and otherwise as the same boot. ``/LiveUpdateCore/Orchestrator/openSessions``
    /// returns the sessions of that boot.
    public func ready() {
        guard var image = waiting.with({ $0.take() }) else { return }
        image.takeOver(orchestrator)
    }

    /// Becomes the next image. Returns only by throwing. The image is checked first, as ``check(_:)`` does. The output
    /// that the C library has buffered is written before the freeze, because execve(2) would lose it.
    ///
    /// - Parameters:
    ///   - image: this program or another that registers the same handlers.
    ///   - discard: whether to publish although incoming sessions are unfinished. These sessions are lost then.
    ///   - unchecked: whether to skip the check, for example because the program has called ``check(_:)`` itself. An
    ///     image that lacks a format cannot read the state, and the memory is lost when that image ends.
    /// - Throws: EBUSY when a hand-over is under way, EAGAIN before ``ready()``; the errors of ``check(_:)`` and of
    ///   ``/LiveUpdateCore/Orchestrator/publish(discardingUnfinished:)``, and those of execve(2) (ENOENT, EACCES,
    ///   ENOEXEC, E2BIG …). After an error, everything is as before.
    public func reboot(
        into image: ProgramImage, discardingUnfinished discard: Bool = false, unchecked: Bool = false
    ) throws(LiveUpdateError) -> Never {
        try beginHandOver()
        defer { endHandOver() }
        if !unchecked { try check(image) }
        // Output to a full pipe waits here, before the blackout.
        flushStandardOutput()
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
        // An image that was described in a waiting process has that process's variable.
        try image.setting(Self.variable, "\(arena.descriptor.rawValue)").setting(WaitingImage.variable, nil).execute()
    }

    private func closeOnExec(_ slots: [DescriptorSlot]) {
        setCloseOnExec([arena.descriptor] + slots.compactMap(descriptors.descriptor))
    }
}

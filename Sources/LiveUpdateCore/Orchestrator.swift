// SPDX-License-Identifier: Apache-2.0
package import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// The live update orchestrator: clients put files into named sessions, and an update hands them to the next boot.
///
/// 1. Handlers are registered, and the FLBs that their files need: ``register(_:)``, ``register(_:on:)``.
/// 2. Sessions are created, and files preserved in them, while the workload goes on: ``createSession(_:)``.
/// 3. ``publish(discardingUnfinished:)`` freezes everything and writes it for the next boot. The next boot gets only
///    the arena and the held descriptors.
/// 4. The next boot retrieves sessions and files, and finishes them: ``retrieveSession(_:)``.
///
/// It follows the kernel's Documentation/core-api/liveupdate.rst, and docs/kernel-map.md lists the kernel's function
/// for each function here. Any thread may call any method. Inside a callback or a getter's closure, only getters and
/// calls that only read the state, such as ``status()``, are allowed, and all other calls fail with EDEADLK. The
/// orchestrator makes no system calls of its own and logs nothing.
public final class Orchestrator: Sendable {
    /// The role of an orchestrator that opens an arena with a published tree.
    package enum Opening: Equatable, Sendable {
        /// The orchestrator is the next boot.
        case nextBoot
        /// The orchestrator is the boot that published the tree. It withdraws the tree and goes on.
        case sameBoot
        /// The orchestrator is the next boot on trial. Until ``Orchestrator/confirm()`` it changes nothing of the old
        /// boot, so that the old boot can still thaw.
        case onTrial
    }

    private let boot: Boot?

    /// Makes the orchestrator of an arena. The arena is new, or the previous boot has left it, or this boot has left it
    /// before a crash. Nothing is read before the first open.
    package init(arena: Arena, descriptors: any DescriptorStore, opening: Opening = .nextBoot) {
        boot = Boot(arena: arena, descriptors: descriptors, opening: opening)
    }

    private init() { boot = nil }

    /// An orchestrator that is switched off: every call throws EOPNOTSUPP.
    public static let disabled = Orchestrator()

    /// Whether the orchestrator is switched on: the kernel's `liveupdate_enabled`.
    public var isEnabled: Bool { boot != nil }

    func enabled() throws(LiveUpdateError) -> Boot {
        guard let boot else {
            throw LiveUpdateError(
                .notSupportedOnSocket, "live update is switched off", remedy: "begin with an arena to switch it on")
        }
        return boot
    }

    // MARK: Registration

    /// Registers a handler: the kernel's `liveupdate_register_file_handler`. Files are offered to the handlers in the
    /// order of their registration.
    ///
    /// - Throws: EINVAL for a compatible string that has not 1 to 47 bytes, EEXIST when it is registered already,
    ///   EAGAIN when its owner is going away.
    public func register(_ handler: any FileHandler) throws(LiveUpdateError) {
        try enabled().change { (registry, _) throws(LiveUpdateError) in try registry.register(handler) }
    }

    /// Removes a handler: the kernel's `liveupdate_unregister_file_handler`.
    ///
    /// - Throws: EINVAL when it is not registered, EBUSY while it has files or FLBs are linked to it.
    public func unregister(_ handler: any FileHandler) throws(LiveUpdateError) {
        try enabled().change { (registry, count) throws(LiveUpdateError) in
            try registry.unregister(handler, fileCount: count)
        }
    }

    /// Links an FLB to a handler. Files of the handler depend on the FLB from now on. The kernel's
    /// `liveupdate_register_flb`.
    ///
    /// - Throws: EINVAL for a compatible string that has not 1 to 47 bytes, or when the handler is not registered;
    ///   EEXIST when it is linked already; EBUSY while the handler has files; and for an FLB that is on no handler yet:
    ///   ENOSPC when 63 are registered, EEXIST when another has its compatible string.
    public func register(_ flb: any FileLifecycleBound, on handler: any FileHandler) throws(LiveUpdateError) {
        try enabled().change { (registry, count) throws(LiveUpdateError) in
            try registry.link(flb, to: handler, fileCount: count)
        }
    }

    /// Unlinks an FLB from a handler: the kernel's `liveupdate_unregister_flb`. An FLB without handlers leaves the
    /// registry and frees its name.
    ///
    /// - Throws: ENOENT when it is not linked, EBUSY while the handler has files.
    public func unregister(_ flb: any FileLifecycleBound, from handler: any FileHandler) throws(LiveUpdateError) {
        try enabled().change { (registry, count) throws(LiveUpdateError) in
            try registry.unlink(flb, from: handler, fileCount: count)
        }
    }

    /// All handlers in registration order, each with its FLBs in link order. A rebuilt orchestrator registers them
    /// again.
    ///
    /// - Throws: EOPNOTSUPP when it is switched off.
    package func registrations() throws(LiveUpdateError) -> [(
        handler: any FileHandler, flbs: [any FileLifecycleBound]
    )] {
        try enabled().registry.entries.map { ($0.handler, $0.flbs) }
    }

    /// The fate of files of a kind when the kernel is replaced. Files of an unknown kind end with the kernel.
    package func kernelFate(of compatible: String) -> KernelFate {
        (try? enabled())?.registry.entry(compatible)?.handler.kernelFate ?? .ends
    }

    /// The compatible strings of all registered handlers and FLBs.
    ///
    /// - Throws: EOPNOTSUPP when it is switched off.
    package func knownFormats() throws(LiveUpdateError) -> [String] {
        try registrations().flatMap { [$0.handler.compatible] + $0.flbs.map(\.compatible) }
    }

    // MARK: Sessions

    /// Reads the state that was handed over, once. Every other call does this first if no call has done it.
    ///
    /// - Throws: EIO when the state cannot be read, or when no handler has the compatible string of a file (the message
    ///   names the string). The arena is left untouched then, and every later call throws the same error. ENOSPC
    ///   without room for a journal. The errors of the descriptor store about a held descriptor, except EBADF. EAGAIN
    ///   in a process that was started for a hand-over, before it has taken over. ENODEV when the boot has ended.
    public func open() throws(LiveUpdateError) {
        let boot = try enabled()
        try boot.ensureOpen()
        try boot.checkOpen()
    }

    /// Opens a boot as ``open()`` does, also on trial, and commits an answer with it. Until ``confirm()``, every other
    /// call on a boot on trial fails with EAGAIN.
    ///
    /// - Parameter answer: the answer to the request for the update, in a boot on trial.
    /// - Throws: as ``open()``.
    package func open(answering answer: Answer?) throws(LiveUpdateError) {
        let boot = try enabled()
        try boot.open(answering: answer)
        if case .trial = boot.stage { return }
        try boot.checkOpen()
    }

    /// Makes an outgoing session.
    ///
    /// - Throws: EINVAL for a name that has not 1 to 63 bytes, EEXIST when there is an outgoing session of that name,
    ///   ENOSPC at the arena's limit, ENODEV when the boot has ended.
    public func createSession(_ name: SessionName) throws(LiveUpdateError) -> Session {
        try enabled().createSession(name, SessionHolder(), nil, isLimited: false) {}
    }

    /// Makes an outgoing session for a client that has limits of its own.
    ///
    /// - Parameters:
    ///   - name: the name of the session.
    ///   - holder: the user of the session, and the slot that holds it.
    ///   - answer: is committed with the session: see ``Answer``.
    ///   - maker: the client that makes the session, and the time; nil when it is unknown.
    ///   - isLimited: whether the limits of the session's user apply: they do not for root that acts as that user.
    ///   - admitting: checks the client's limits, after the check for EEXIST. When it throws, nothing has changed.
    /// - Returns: the session.
    /// - Throws: as ``createSession(_:)``; EUSERS at the user's limit, after EEXIST; and the errors of `admitting`.
    package func createSession(
        _ name: SessionName, holder: SessionHolder = SessionHolder(), answering answer: Answer? = nil,
        by maker: SessionMaker? = nil, isLimited: Bool = true, admitting: () throws(LiveUpdateError) -> Void = {}
    ) throws(LiveUpdateError) -> Session {
        try enabled().createSession(name, holder, answer, maker, isLimited: isLimited, admitting)
    }

    /// Opens a session that was handed over.
    ///
    /// - Throws: ENOENT when there is no session of that name, or it was finished and closed; EINVAL when it is open.
    public func retrieveSession(_ name: SessionName) throws(LiveUpdateError) -> Session {
        try retrieveSession(name, holder: SessionHolder())
    }

    /// Opens an incoming session of a client's user.
    ///
    /// - Parameters:
    ///   - name: the name of the session.
    ///   - holder: the user of the session, and the slot that holds it from now on.
    ///   - answer: is committed with the opening: see ``Answer``.
    ///   - client: the client that opens the session; nil when it is unknown.
    /// - Returns: the session.
    /// - Throws: as ``retrieveSession(_:)``.
    package func retrieveSession(
        _ name: SessionName, holder: SessionHolder, answering answer: Answer? = nil, for client: SessionClient? = nil
    ) throws(LiveUpdateError) -> Session {
        try enabled().retrieveSession(name, holder, answer, client)
    }

    /// A user's session of that name.
    ///
    /// - Throws: as ``open()``.
    package func session(
        _ name: SessionName, _ direction: Direction, of user: SessionUser
    ) throws(LiveUpdateError) -> Status.Session? {
        try open()
        return try enabled().read { state in
            state.session(name, direction, of: user).map { Status.Session($0, in: state) }
        }
    }

    /// All open sessions, oldest first. A session that was open before a crash in this boot is still open.
    ///
    /// - Throws: as ``open()``.
    public var openSessions: [Session] {
        get throws(LiveUpdateError) { try enabled().openSessions() }
    }

    /// Sets the limits of each user except root.
    ///
    /// - Throws: EOPNOTSUPP when it is switched off.
    package func limitUsers(to limits: UserLimits) throws(LiveUpdateError) {
        try enabled().setLimits(limits)
    }

    /// The usage of a user.
    package func usage(of user: SessionUser) -> Usage {
        boot?.read { $0.usage[user] } ?? Usage()
    }

    /// The last answer on a connection, if the request must not be done again: see ``Answer``.
    package func answer(on connection: DescriptorSlot) -> Answer? {
        boot?.read { $0.answers[connection] }
    }

    /// The connections that have such an answer: see ``answer(on:)``.
    ///
    /// - Throws: EOPNOTSUPP when it is switched off.
    package var answeredConnections: [DescriptorSlot] {
        get throws(LiveUpdateError) { try enabled().read { [DescriptorSlot]($0.answers.keys) } }
    }

    /// Commits an answer on its own.
    ///
    /// - Throws: ENOSPC, ENODEV when the boot has ended.
    package func commit(_ answer: Answer) throws(LiveUpdateError) {
        let boot = try enabled()
        try boot.request(.shared) { () throws(LiveUpdateError) in try boot.commit([.answered(answer)]) }
    }

    /// Forgets the answer on a connection that has closed.
    package func forget(_ connection: DescriptorSlot) {
        guard let boot, answer(on: connection) != nil else { return }
        try? boot.request(.shared) { () throws(LiveUpdateError) in try boot.commit([.connectionClosed(connection)]) }
    }

    // MARK: FLBs

    /// The getters of FLBs.
    ///
    /// - Throws: EOPNOTSUPP when it is switched off.
    public var flbs: FLBGetters {
        get throws(LiveUpdateError) { try enabled().flbGetters }
    }

    /// Lends an FLB's incoming object for the length of a closure: see ``FLBGetters/withIncoming(_:_:)``.
    public func withIncoming<FLB: FileLifecycleBound, Value>(
        _ flb: FLB, _ body: (FLB.Object) throws(LiveUpdateError) -> Value
    ) throws(LiveUpdateError) -> Value {
        try enabled().flbGetters.withIncoming(flb, body)
    }

    /// Lends an FLB's outgoing object for the length of a closure: see ``FLBGetters/withOutgoing(_:_:)``.
    public func withOutgoing<FLB: FileLifecycleBound, Value>(
        _ flb: FLB, _ body: (FLB.Object?) throws(LiveUpdateError) -> Value
    ) throws(LiveUpdateError) -> Value {
        try enabled().flbGetters.withOutgoing(flb, body)
    }

    /// Finishes the FLBs of sessions that the previous boot discarded. The program that runs a boot calls this once
    /// after ``open()``, so that these FLBs release what they hold.
    ///
    /// - Throws: as ``open()``.
    package func finishDiscarded() throws(LiveUpdateError) { try enabled().finishDiscarded() }

    // MARK: An update

    /// Begins to look at the files ahead of an update. ``look(goingOn:)`` looks at them, some at a time. The looks
    /// serve ``obstacles()``, ``draft(leavingOut:)`` and the publication that follow, until ``discardDraft()``.
    ///
    /// - Throws: EOPNOTSUPP when it is switched off.
    package func beginLooks() throws(LiveUpdateError) {
        let boot = try enabled()
        boot.plan.beginLooks(of: boot)
    }

    /// Has the handlers look at some of the files that existed at ``beginLooks()``. Requests are served between calls.
    ///
    /// - Parameter goesOn: is asked after each file.
    /// - Returns: whether all of them were looked at.
    /// - Throws: as ``open()``; ENODEV when the boot has ended.
    package func look(goingOn goesOn: () -> Bool) throws(LiveUpdateError) -> Bool {
        let boot = try enabled()
        return try boot.plan.look(of: boot, goingOn: goesOn)
    }

    /// Writes a draft of the tree that ``publish(discardingUnfinished:leavingOut:replacing:)`` needs, and has the
    /// handlers look at the files, so that publishing has little left to do. Requests go on, and a request that changes
    /// something makes the draft worthless. A later draft replaces this one. A publish for another kernel does not use
    /// the draft.
    ///
    /// - Parameter leavingOut: whether the draft leaves out the files that cannot be frozen now. A draft without some
    ///   files is used only by a ``publish(discardingUnfinished:leavingOut:replacing:)`` that may leave files out.
    /// - Returns: the range of the draft. The next boot gets it for ``prepare(on:)``.
    /// - Throws: ENOSPC when the draft would need room that is reserved for publishing; the errors of an FLB; ENODEV
    ///   when the boot has ended.
    package func draft(leavingOut: Bool = false) throws(LiveUpdateError) -> Extent {
        let boot = try enabled()
        return try boot.plan.draft(leavingOut: leavingOut, of: boot)
    }

    /// Frees a draft, and forgets the looks, when there will be no update.
    package func discardDraft() {
        if let boot { boot.plan.discardDraft(of: boot) }
    }

    /// Whether the draft still matches the state, so that an update can publish it.
    package var hasCurrentDraft: Bool {
        boot.flatMap { $0.plan.currentDraft(leavingOut: true, of: $0) } != nil
    }

    /// Reads and checks a draft of the old boot, before a boot on trial is opened. If that draft is published, the open
    /// has little left to do. If another tree is published, the open does not use the draft.
    ///
    /// - Throws: EINVAL for a boot that is open or not on trial, EIO for a draft that cannot be read.
    package func prepare(on draft: Extent) throws(LiveUpdateError) {
        let boot = try enabled()
        try boot.plan.prepare(on: draft, boot)
    }

    /// Freezes all outgoing sessions and writes them for the next boot: the kernel's `liveupdate_reboot`. On success
    /// this boot has ended, and every call fails with ENODEV, unless ``thaw()`` resumes the boot.
    ///
    /// A file is lost when the last process that held it has ended and its handler does not find it again. Such a file
    /// is not frozen, and travels as lost.
    ///
    /// - Parameter discard: whether to publish although incoming sessions are unfinished. These sessions are lost then
    ///   (``unfinishedSessions()``).
    /// - Throws: ENODEV when the boot has ended, EBUSY when sessions are unfinished, the error of the first freeze that
    ///   fails, the errors of an FLB, ENOSPC. Nothing has changed then, and the update may be tried again.
    public func publish(discardingUnfinished discard: Bool = false) throws(LiveUpdateError) {
        try publish(discardingUnfinished: discard, leavingOut: false)
    }

    /// Publishes as ``publish(discardingUnfinished:)`` does, and may leave files out.
    ///
    /// - Parameters:
    ///   - discard: whether to publish although incoming sessions are unfinished.
    ///   - leavingOut: whether to publish without the files that cannot be frozen. Such a file is left out: the next
    ///     boot has its descriptor, token and FLBs, and finishes it, but cannot retrieve it. A retrieve always fails
    ///     with the error of the freeze; ``Session/retrieveAsHeld(token:)`` returns the descriptor.
    ///   - replaced: the image only, or the kernel. A file that ends with the kernel cannot be frozen for an update
    ///     that replaces the kernel.
    /// - Returns: the slots of the descriptors that travel.
    /// - Throws: as ``publish(discardingUnfinished:)``; EOPNOTSUPP for a file that ends with the kernel. A freeze that
    ///   fails does not stop an update that may leave files out.
    @discardableResult
    package func publish(
        discardingUnfinished discard: Bool = false, leavingOut: Bool, replacing replaced: Replacement = .image
    ) throws(LiveUpdateError) -> [DescriptorSlot] {
        let boot = try enabled()
        return try boot.plan.publish(
            discardingUnfinished: discard, leavingOut: leavingOut, replacing: replaced, boot)
    }

    /// The files that the published update leaves out, in the order of their preserves.
    package var leftOut: [FreezeObstacle] { boot.map { $0.plan.leftOut(of: $0) } ?? [] }

    /// Finds all files that could not be frozen now, and changes nothing. Lost files are not among them, because they
    /// stop no update.
    ///
    /// - Throws: as ``open()``; ENODEV when the boot has ended.
    public func obstacles() throws(LiveUpdateError) -> [FreezeObstacle] { try obstacles(replacing: .image) }

    /// Finds all files that could not be frozen now, as ``obstacles()`` does. If the update replaces the kernel, files
    /// that end with the kernel are among them, and an earlier look is not used.
    ///
    /// - Throws: as ``obstacles()``.
    package func obstacles(replacing replaced: Replacement) throws(LiveUpdateError) -> [FreezeObstacle] {
        let boot = try enabled()
        return try boot.plan.obstacles(of: boot, replacing: replaced)
    }

    /// Opens lost files again, if they survive the kernel by themselves and their handlers find them.
    ///
    /// - Returns: the files of unfinished sessions, held and lost, and the reasons why files were not found.
    /// - Throws: as ``open()``; ENODEV when the boot has ended.
    package func findLostFiles() throws(LiveUpdateError) -> FoundFiles { try enabled().findLostFiles() }

    /// The incoming sessions that are not finished. An update that discards loses them.
    ///
    /// - Throws: as ``open()``; ENODEV when the boot has ended.
    public func unfinishedSessions() throws(LiveUpdateError) -> [Status.Session] {
        try enabled().unfinishedSessions()
    }

    /// Checks ahead of an update that all incoming sessions are finished.
    ///
    /// - Throws: EBUSY when some are not; as ``open()``; ENODEV when the boot has ended.
    package func checkUnfinished() throws(LiveUpdateError) {
        try open()
        let boot = try enabled()
        try boot.plan.checkUnfinished(boot)
    }

    /// The compatible strings of all files and FLBs: the next image must know each of them.
    ///
    /// - Throws: as ``open()``; ENODEV when the boot has ended.
    package func formatsInUse() throws(LiveUpdateError) -> Set<String> { try enabled().formatsInUse() }

    /// The lost files of both directions: the last process that held their descriptors has ended.
    ///
    /// - Throws: as ``open()``; ENODEV when the boot has ended.
    public func lostFiles() throws(LiveUpdateError) -> [LostFile] { try enabled().lostFiles() }

    /// Resumes this boot after a publish. This is allowed until the next boot has begun.
    ///
    /// - Throws: EINVAL when nothing was published.
    public func thaw() throws(LiveUpdateError) {
        let boot = try enabled()
        try boot.plan.thaw(boot)
    }

    /// Ends a boot that has published, because the next boot has begun. Nothing can be taken back any more.
    package func end() { boot?.setStage(.failed(Boot.ended)) }

    /// Ends the trial of a boot that was opened with ``Opening/onTrial``. The old boot cannot thaw any more.
    ///
    /// - Throws: ENOSPC.
    package func confirm() throws(LiveUpdateError) { try enabled().confirm() }

    /// The slots of the descriptors of all files, incoming and outgoing, for the process that holds them.
    ///
    /// - Throws: as ``open()``.
    package func slots() throws(LiveUpdateError) -> [DescriptorSlot] { try enabled().slots() }

    /// The slots of the descriptors of all files, also when the boot has ended.
    package var heldSlots: [DescriptorSlot] { boot?.read { $0.files.values.map(\.slot) } ?? [] }

    /// The state of the arena, for display.
    ///
    /// - Throws: as ``open()``.
    public func status() throws(LiveUpdateError) -> Status { try enabled().status() }
}

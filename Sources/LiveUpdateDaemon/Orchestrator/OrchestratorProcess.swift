// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdateHandlers
import LiveUpdateHandover
import LiveUpdateMachine
import LiveUpdatePlatform
import LiveUpdateProtocol
import Logging
import SystemPackage

/// The process of an orchestrator, which a keeper starts. It serves at once, or waits as the standby. It receives
/// everything over an inherited socket.
package enum OrchestratorProcess {
    /// The number of threads that close descriptors: one for root, one for closes that cannot sleep, and the others for
    /// one user each at a time.
    private static let closingThreads = 8

    /// The number of threads for requests that take long: one for root, and the others for one other user each at a
    /// time.
    private static let workingThreads = 4

    /// Runs until the keeper ends this process.
    package static func run() throws -> Never {
        let log = Log("luod-orchestrator")
        let (keeper, settings) = try StartedProcess.begin(log)
        // This thread gives up the start capabilities later, because it may have to open files on DAX of all users. The
        // other threads never have them.
        if settings.isConfined { try Capabilities.keep(only: Sandbox.capabilities + Sandbox.startCapabilities) }
        let capabilities = settings.isConfined ? Sandbox.capabilities : nil
        let measuresMemory = settings.memory.limits(isOpenToEverybody: settings.isOpenToEverybody)
        let store = DescriptorMirror(
            try Closer(threads: closingThreads, keeping: capabilities), measuresMemory: measuresMemory)
        let workers = try WorkerPool(threads: workingThreads, keeping: capabilities)
        let beginning = try receiveAll(store, keeper)
        store.use(keeper)
        if settings.isConfined, !beginning.role.isStart { try Sandbox.limitCapabilities() }
        // After several deaths in a row the pause comes here, after receiving all descriptors, so that luod has two
        // holders meanwhile.
        if beginning.role != .standby, beginning.pause > 0 { usleep(useconds_t(beginning.pause * 1000)) }
        if settings.isConfined {
            try enterSandbox(keeper, endsLuod: beginning.role != .standby && store.holdsOnlyState)
        }
        let resources = OrchestratorResources(
            store: store, keeper: keeper, workers: workers, settings: settings, log: log)
        if beginning.role == .standby { try StandbyProcess(resources, keeper).run() }
        try serve(beginning, resources, keeper)
    }

    /// Takes the rights from this process. An orchestrator that keeps its rights must not serve.
    ///
    /// - Parameters:
    ///   - keeper: the link to the keeper.
    ///   - endsLuod: whether luod ends on a kernel without filters. It may end while it holds no file.
    /// - Throws: the errors of ``Sandbox/enter()``.
    private static func enterSandbox(_ keeper: ControlLink, endsLuod: Bool) throws(SystemCallError) {
        do throws(SystemCallError) {
            try Sandbox.enter()
        } catch {
            guard endsLuod, [.notSupportedOnSocket, .invalidArgument, .noFunction].contains(error.errno) else {
                throw error
            }
            let failure = StartFailure(
                .unavailable,
                "the orchestrator cannot give up its system calls: \(error); use a kernel with CONFIG_SECCOMP_FILTER, "
                    + "or start luod with --unconfined if you trust all its users")
            try? keeper.send(.cannotBegin(failure))
            exitNow(failure.cause.rawValue)
        }
    }

    private static func serve(
        _ beginning: Beginning, _ resources: OrchestratorResources, _ keeper: ControlLink
    ) throws -> Never {
        let server: Server
        do {
            if beginning.role == .refusing { throw StartFailure(.other, beginning.after) }
            server = try start(beginning, resources)
        } catch {
            let failure = StartFailure(error, on: StateDirectory(resources.settings.state))
            guard resources.store.holdsOnlyState else { try refuse(failure, resources, keeper) }
            try? keeper.send(.cannotBegin(failure))
            exitNow(failure.cause.rawValue)
        }
        try? keeper.send(.update(.ready))
        try server.run()
    }

    /// Holds all descriptors and serves only root, without the state: see ``Refusal``.
    private static func refuse(
        _ failure: StartFailure, _ resources: OrchestratorResources, _ keeper: ControlLink
    ) throws -> Never {
        let orchestrator = Orchestrator(arena: try Arena.make(), descriptors: resources.store)
        let server = try resources.makeServer(of: orchestrator, refusal: Refusal(failure, at: milliseconds()))
        try orchestrator.open()
        try server.open()
        try? keeper.send(.refuses(failure))
        try server.run()
    }

    /// - Throws: the error that prevents serving clients.
    private static func start(_ beginning: Beginning, _ resources: OrchestratorResources) throws -> Server {
        abortForTests()
        var options = resources.settings.arena
        options.takingBack = beginning.role == .successorInUpdate
        let arena = try resources.openArena(options)
        let orchestrator = Orchestrator(
            arena: arena, descriptors: resources.store,
            opening: beginning.role.isNextBoot ? .nextBoot : .sameBoot)
        let server = try resources.makeServer(of: orchestrator, predecessorsEnd: beginning.after)
        let wasPublished = arena.outgoingTree != nil
        if beginning.role.isStart, arena.journal == nil, !wasPublished { sayMedium(resources) }
        try orchestrator.open()
        if beginning.role.isStart {
            findFiles(orchestrator, beginning.role, wasPublished, resources.log)
            if resources.settings.isConfined { try Sandbox.limitCapabilities() }
        }
        if beginning.role.isStart { server.logStartLosses() }
        try? orchestrator.finishDiscarded()
        try server.resume()
        return server
    }

    /// Logs the medium on which a new state begins.
    private static func sayMedium(_ resources: OrchestratorResources) {
        // The state of luoctl run ends with its program.
        guard !resources.settings.endsUnused, let arena = resources.store.descriptor(.arena),
            let medium = StateMedium(ofArena: arena)
        else { return }
        resources.log.say(medium.line(resources.settings.state), .info)
    }

    /// Opens the files that survived the kernel, before other processes rename them. The log says which persistent
    /// memory is missing, and which files were not found.
    private static func findFiles(
        _ orchestrator: Orchestrator, _ role: ControlMessage.Role, _ wasPublished: Bool, _ log: Log
    ) {
        let files = try? orchestrator.findLostFiles()
        log.sayAll(orchestrator.missingMemory.map { "persistent memory: \($0)" }, .warning)
        let reasons = files?.reasons ?? []
        log.sayAll(reasons.prefix(loggedReasons).map { "not found: \($0)" }, .error)
        if reasons.count > loggedReasons { log.say("not found: \(reasons.count - loggedReasons) more files", .error) }
        guard role == .afterKernel else { return }
        let what =
            wasPublished
            ? "this is another kernel than before, and the next boot" : "the kernel restarted without an update"
        log.say("\(what): files held: \(files?.held ?? 0), lost: \(files?.lost ?? 0)")
    }

    private static let loggedReasons = 20

    /// Dies at the start, so that a test can check the consequences. Only in debug builds, and only while the file at
    /// LUO_TEST_START exists.
    private static func abortForTests() {
        #if DEBUG
            guard let path = environmentVariable("LUO_TEST_START"), (try? FileStatus(at: path)) != nil else { return }
            abort()
        #endif
    }

    /// The instructions for the beginning of an orchestrator.
    private struct Beginning {
        var role: ControlMessage.Role
        /// How the orchestrator before this one ended, as text.
        var after: String
        /// The pause before the journal is read, in milliseconds.
        var pause: UInt64
    }

    private static func receiveAll(_ store: DescriptorMirror, _ keeper: ControlLink) throws -> Beginning {
        while let received = try keeper.receive(.waiting) {
            // A held descriptor is missing.
            if received.isCut { exitNow(1) }
            switch received.message {
            case .hold(let slots): store.hold(slots, received.descriptors)
            case .stored(let isStored): store.isStored = isStored
            case .begin(let role, let next, let after, let pause):
                store.begin(nextSlot: next)
                return Beginning(role: role, after: after, pause: pause)
            default: break
            }
        }
        exitNow(1)
    }
}

/// The parts of an orchestrator's process that do not depend on its state.
struct OrchestratorResources {
    let store: DescriptorMirror
    /// The link to the keeper; nil: there is no keeper.
    let keeper: ControlLink?
    let workers: WorkerPool
    let settings: Settings
    let log: Log

    /// Opens the arena that the keeper holds.
    func openArena(_ options: Arena.Options) throws -> Arena {
        guard let file = store.descriptor(.arena) else { exitNow(1) }
        return try Arena(opening: try file.duplicated(), options)
    }

    /// Registers luod's handlers and limits, and makes the server of an orchestrator that is not open yet.
    ///
    /// `refusal` is the reason why the state cannot be read; nil when it can. With a reason, the orchestrator has an
    /// empty state of its own. `predecessorsEnd` says how the orchestrator before this one ended; it is empty when that
    /// orchestrator did not end.
    func makeServer(
        of orchestrator: Orchestrator, refusal: Refusal? = nil, predecessorsEnd: String = ""
    ) throws -> Server {
        try register(on: orchestrator)
        return try Server(self, orchestrator, refusal: refusal, predecessorsEnd: predecessorsEnd)
    }

    /// Registers luod's handlers and limits.
    func register(on orchestrator: Orchestrator) throws {
        if settings.kernel == nil {
            try orchestrator.registerStandardHandlers()
        } else {
            try orchestrator.register(MemfdHandler())
        }
        try orchestrator.register(HeldFileHandler())
        try orchestrator.limitUsers(to: settings.limits)
    }
}

/// Ends this process at once, without flushing buffers. The kernel closes its descriptors.
func exitNow(_ code: CInt) -> Never { _exit(code) }

// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport

/// The world that a script changes: a machine, its boot, and its sessions and files by name.
final class CrashWorld {
    let machine: Machine
    let probe: CrashProbe
    private(set) var boot = Orchestrator.disabled
    private var sessions: [SessionName: Session] = [:]
    private var files: [String: MemoryFile] = [:]
    /// The limit of the arena.
    static let limit: UInt64 = 1 << 20
    /// The number of ranges that the records of a file take.
    var ranges = 1

    /// Makes a world on a new machine. The arena's file has `size` bytes from the start. It is longer than the arena
    /// itself, because a dead writer does not know that its growth is lost, and still reads there.
    init(_ probe: CrashProbe, fileOf size: UInt64) throws {
        self.probe = probe
        machine = try Machine(Arena.Options(initialSize: 4096, limit: Self.limit, probe: probe))
        try machine.file.descriptor.setSize(max(size, 4096))
        probe.watch(machine.file)
    }

    /// Registers the handlers and the FLB of every boot. A file of token 2 is retrieved as another open file
    /// description. A file of token 3 cannot be retrieved, and a file of token 4 cannot be frozen. The second handler
    /// does not hold its files.
    static func register(_ orchestrator: Orchestrator, ranges: Int) throws {
        let handler = TestHandler("file-v1") { hooks in
            hooks.preserve = { file throws(LiveUpdateError) in
                for _ in 1..<ranges { _ = try file.storage.allocate(64) }
                return try file.storage.store(nativeBytes(file.token) + nativeBytes(file.identity.inode))
            }
            hooks.freeze = { file throws(LiveUpdateError) in
                if file.token == 4 { throw LiveUpdateError(.staleNFSFileHandle, "it cannot be frozen") }
                return file.data
            }
            hooks.retrieve = { file throws(LiveUpdateError) in
                switch file.token {
                case 2: return .opened(try reopened(file))
                case 3: throw LiveUpdateError(.ioError, "it does not come back")
                default: return .kept
                }
            }
        }
        try orchestrator.register(handler)
        let flb = TestFLB("flb-v1") { hooks in
            hooks.preserve = { context throws(LiveUpdateError) in try context.storage.store([7, 7]) }
        }
        try orchestrator.register(flb, on: handler)
        let second = TestHandler("held-v1", holdsFile: false) { hooks in
            hooks.preserve = { file throws(LiveUpdateError) in try file.storage.store(nativeBytes(file.token)) }
        }
        try orchestrator.register(second)
    }

    private static func reopened(_ file: FileContext) throws(LiveUpdateError) -> FileDescriptor {
        do throws(SystemCallError) {
            guard let kept = file.descriptor else { throw SystemCallError("fstat", .badFileDescriptor) }
            return try kept.reopenedForReading().release()
        } catch {
            throw LiveUpdateError(error, "opening it anew")
        }
    }

    // MARK: Steps of a script

    func start(_ opening: Orchestrator.Opening) throws {
        sessions = [:]
        boot = try machine.boot(opening) { try Self.register($0, ranges: ranges) }
        try boot.open()
    }

    func create(_ name: SessionName) throws { sessions[name] = try boot.createSession(name) }

    func reopen(_ name: SessionName) throws { sessions[name] = try boot.retrieveSession(name) }

    func preserve(_ file: String, _ token: UInt64, in session: SessionName, as compatible: String? = nil) throws {
        let made = try files[file] ?? MemoryFile(file)
        files[file] = made
        try sessions[session]?.preserve(made.descriptor, token: token, as: compatible)
    }

    func retrieve(_ token: UInt64, from session: SessionName) throws {
        _ = try sessions[session]?.retrieve(token: token)
    }

    func getAndUnpreserve(_ token: UInt64, from session: SessionName) throws {
        _ = try sessions[session]?.getAndUnpreserve(token: token)
    }

    func unpreserve(_ token: UInt64, from session: SessionName) throws {
        try sessions[session]?.unpreserve(token: token)
    }

    func finish(_ session: SessionName) throws { try sessions[session]?.finish() }

    func abandon(_ session: SessionName) throws { try sessions.removeValue(forKey: session)?.abandon() }

    func closeForcibly(_ session: SessionName) throws { try sessions.removeValue(forKey: session)?.closeForcibly() }

    func close(_ session: SessionName) throws { try sessions.removeValue(forKey: session)?.close() }

    // MARK: Names of files

    /// The name of a file.
    func name(_ identity: FileIdentity) -> String { files.first { $0.value.identity == identity }?.key ?? "?" }
}

/// A run that is cut short at each of its stores. A step is one request, which has happened or has not.
struct CrashScript: Sendable {
    typealias Step = @Sendable (CrashWorld) throws -> Void

    let name: String
    let ranges: Int
    let steps: [Step]

    /// Runs the steps until one is cut short.
    ///
    /// - Returns: the number of complete steps.
    func run(_ world: CrashWorld, after: (Int) throws -> Void = { _ in }) throws -> Int {
        world.ranges = ranges
        for (index, step) in steps.enumerated() {
            do {
                try step(world)
            } catch let error where world.probe.isDead {
                // The answer of a dead writer reaches no caller.
                _ = error
            }
            if world.probe.isDead { return index }
            try after(index + 1)
        }
        return steps.count
    }

    /// Two updates, with all events of sessions, files and an FLB.
    static let updates = CrashScript(
        name: "updates", ranges: 1,
        steps: [
            { try $0.start(.nextBoot) },
            { try $0.create("s") },
            { try $0.preserve("A", 1, in: "s") },
            { try $0.preserve("B", 2, in: "s") },
            { try $0.preserve("C", 3, in: "s") },
            { try $0.create("t") },
            { try $0.preserve("D", 1, in: "t") },
            { try $0.create("empty") },
            { try $0.create("gone") },
            { try $0.preserve("E", 1, in: "gone") },
            { try $0.close("gone") },
            { try $0.boot.publish() },
            { try $0.boot.thaw() },
            { try $0.preserve("E", 2, in: "t") },
            { try $0.preserve("F", 7, in: "t") },
            { try $0.getAndUnpreserve(7, from: "t") },
            { try $0.create("brief") },
            { try $0.preserve("F", 1, in: "brief") },
            { try $0.unpreserve(1, from: "brief") },
            { try $0.close("brief") },
            { try $0.boot.publish() },
            { try $0.start(.nextBoot) },
            { try $0.reopen("s") },
            { world in _ = failure { try world.boot.withIncoming(TestFLB("flb-v1")) { _ in } } },
            { try $0.retrieve(1, from: "s") },
            { try $0.retrieve(2, from: "s") },
            { world in _ = failure { try world.retrieve(3, from: "s") } },
            { _ = try $0.boot.createSession("s") },
            { try $0.finish("s") },
            { try $0.reopen("empty") },
            { try $0.close("empty") },
            { try $0.create("u") },
            { try $0.preserve("A", 9, in: "u") },
            { world in _ = failure { try world.boot.publish() } },
            { try $0.boot.publish(discardingUnfinished: true) },
            { try $0.start(.nextBoot) },
            { try $0.boot.finishDiscarded() },
            { try $0.reopen("u") },
            { try $0.close("u") },
            { try $0.boot.publish(discardingUnfinished: true) },
            { try $0.start(.sameBoot) },
            { try $0.create("last") },
            { try $0.preserve("A", 4, in: "last") },
            { try $0.preserve("A", 5, in: "last", as: "held-v1") },
            { try $0.preserve("B", 6, in: "last") },
            { world in _ = failure { try world.boot.publish(discardingUnfinished: true) } },
            { _ = try $0.boot.draft(leavingOut: true) },
            { try $0.boot.publish(discardingUnfinished: true, leavingOut: true) },
            { try $0.start(.nextBoot) },
            { try $0.reopen("last") },
            { try $0.abandon("last") },
            { try $0.reopen("last") },
            { world in _ = failure { try world.retrieve(4, from: "last") } },
            { try $0.retrieve(6, from: "last") },
            { try $0.closeForcibly("last") },
        ])

    /// Sessions that come and go, with records of many ranges each. The journal is rewritten and the arena grows
    /// several times.
    static let growth = CrashScript(
        name: "growth", ranges: 200,
        steps: [{ try $0.start(.nextBoot) }]
            + (0..<30).flatMap { round -> [Step] in
                [
                    { try $0.create("s\(round)") },
                    { try $0.preserve("F\(round)", 1, in: "s\(round)") },
                    { world in if round % 3 > 0 { try world.close("s\(round)") } },
                ]
            } + [
                { try $0.boot.publish() }, { try $0.start(.nextBoot) }, { try $0.reopen("s0") }, { try $0.close("s0") },
            ])
}

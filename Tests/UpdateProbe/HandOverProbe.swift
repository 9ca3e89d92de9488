// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdate
import LiveUpdateCore
import LiveUpdateHandlers
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// Holds files over several hand-overs. Each boot is a process of its own. The first image that the first boot starts
/// can have a fault.
struct HandOverProbe {
    /// The variable that gives an image its fault.
    private static let fault = "PROBE_FAULT"

    let files: Int
    let updates: UInt64
    /// The fault of the first image; empty for none.
    let faulty: String

    static func run(files: Int, updates: UInt64, faulty: String) throws {
        if let fault = environmentVariable(Self.fault) { try runFaulty(fault) }
        try HandOverProbe(files: files, updates: updates, faulty: faulty).run()
    }

    private func run() throws {
        let process = try begin()
        let isWaiting = process.isWaiting
        let early = errno { try process.orchestrator.open() }
        if isWaiting, environmentVariable("PROBE_ORPHAN") != nil { waitForEndOfParent() }
        process.ready()
        let update = try process.orchestrator.status().updateNumber
        if let alone = try process.orchestrator.openSessions.first { return try goOnAlone(alone) }
        if isBusy, update > 0 { try BusyThreads.comeBack(process.orchestrator) }
        let files = update == 0 ? try (0..<UInt64(files)).map(makeFile) : try Keep.comeBack(process, files, update)
        say(["boot": "\(update)", "process": "\(getpid())", "waited": "\(isWaiting)", "early": "\(early)"])
        guard update < updates else { return say(["done": "\(update)"]) }
        let session = try Keep.preserve(process, files)
        if update == 0, !faulty.isEmpty { try failOnce(process, session) }
        try handOver(process)
    }

    private func waitForEndOfParent() {
        let parent = getppid()
        say(["waiting": "\(getpid())"])
        while getppid() == parent { usleep(1000) }
    }

    private func errno(_ body: () throws -> Void) -> CInt {
        do {
            try body()
            return 0
        } catch {
            return (error as? LiveUpdateError)?.errno.rawValue ?? -1
        }
    }

    /// Whether other threads make requests during the hand-overs.
    private var isBusy: Bool { environmentVariable("PROBE_BUSY") != nil }

    private func handOver(_ process: UpdatableProcess) throws {
        let busy = isBusy ? try BusyThreads(process.orchestrator, count: 3) : nil
        let handOver = try process.handOver(to: ownImage())
        let second = errno { _ = try process.handOver(to: ownImage()) }
        let reboot = errno { try process.reboot(into: ownImage()) }
        try handOver.waitUntilReady()
        say(["ready": "\(handOver.image ?? 0)"])
        let stillServes = errno { try process.orchestrator.createSession("while the image waits").close() }
        try handOver.complete()
        busy?.end()
        let after = errno { try process.orchestrator.open() }
        say([
            "handed_over": "\(handOver.image ?? 0)", "second": "\(second)", "reboot": "\(reboot)",
            "serves": "\(stillServes)", "after": "\(after)",
        ])
    }

    /// The boot of a process that has died goes on here.
    private func goOnAlone(_ session: Session) throws {
        var intact = 0
        for token in session.tokens {
            let file = try session.get(token: token)
            if try holds(file, token) { intact += 1 }
        }
        say(["alone": "\(intact)"])
    }

    // MARK: Faults

    private func failOnce(_ process: UpdatableProcess, _ session: Session) throws {
        let refusing = faulty == "unfreezable" ? try preserveUnfreezable(process) : nil
        do throws(LiveUpdateError) {
            let handOver = try process.handOver(to: faultyImage, patience: .seconds(faulty.hasPrefix("hang") ? 2 : 60))
            if faulty == "called-off" { handOver.callOff() }
            // The image ends while this program stops its writers.
            if faulty == "exit-ready" {
                while try handOver.advance() || true { _ = handOver.descriptor.isReadable(within: 5000) }
            }
            try handOver.complete()
            say([faulty == "traced" ? "handed_over" : "fault": "to the image that is \(faulty)"])
            exit(0)
        } catch {
            say(["refused": "\(error.errno.rawValue)", "why": error.reason])
        }
        try refusing?.close()
        // Everything works as before.
        let more = try makeFile(999)
        try session.preserve(more, token: 999)
        try session.unpreserve(token: 999)
        try closeDescriptor(more)
        say(["children": "\(waitpid(-1, nil, WNOHANG))"])
    }

    private var faultyImage: ProgramImage {
        switch faulty {
        case "missing": ProgramImage(path: "/nonexistent/image", arguments: ["image"])
        case "other": ProgramImage(path: "/bin/true", arguments: ["true"])
        case "unfreezable", "called-off": ownImage()
        case "traced": tracedImage
        default: ownImage().setting(Self.fault, faulty)
        }
    }

    /// The image under strace(1), which kills it at one of its system calls: `PROBE_KILL` has the name of the call and
    /// the number of times that it is called until then.
    private var tracedImage: ProgramImage {
        let call = (environmentVariable("PROBE_KILL") ?? "").split(separator: ":").map(String.init)
        let trace =
            call.count == 2
            ? ["-e", "trace=\(call[0])", "-e", "inject=\(call[0]):signal=SIGKILL:when=\(call[1])"] : ["-c"]
        let output = environmentVariable("PROBE_CALLS") ?? "/dev/null"
        return ProgramImage(
            path: "/usr/bin/strace",
            arguments: ["strace", "-D", "-qq", "-o", output] + trace + [ProgramImage.ownPath().string]
                + CommandLine.arguments.dropFirst())
    }

    private func preserveUnfreezable(_ process: UpdatableProcess) throws -> Session {
        let session = try process.orchestrator.createSession("unfreezable")
        let file = try makeFile(1)
        try session.preserve(file, token: 1, as: UnfreezableHandler.format)
        try closeDescriptor(file)
        return session
    }

    /// An image with a fault. It does not return, unless the fault comes later.
    private static func runFaulty(_ fault: String) throws {
        switch fault {
        case "exit": exit(3)
        case "hang": sleepForEver()
        default: break
        }
        let options = Arena.Options(probe: fault == "stop-taking-over" ? StoppingProbe() : nil)
        let process = try begin(handlers: fault != "lacking", arena: options)
        switch fault {
        case "exit-ready":
            try startThread {
                usleep(300_000)
                _exit(6)
            }
            process.ready()
        case "exit-waiting": exit(4)
        case "hang-waiting": sleepForEver()
        case "crash-waiting": abort()
        default: process.ready()
        }
        say(["fault": "the faulty image began"])
        exit(5)
    }

    private static func sleepForEver() -> Never { while true { pause() } }
}

/// Stops the process at its first store into the arena, which begins its boot.
private final class StoppingProbe: StoreProbe {
    func willStore(bytes count: Int) -> Int {
        kill(getpid(), SIGSTOP)
        return count
    }
}

/// A handler that cannot freeze its files.
final class UnfreezableHandler: FileHandler {
    static let format = "unfreezable-v1"
    let compatible = UnfreezableHandler.format
    let isOnlyOnRequest = true

    func canPreserve(_ descriptor: FileDescriptor) -> Acceptance { .accepted }
    func preserve(_ file: FileContext) throws(LiveUpdateError) -> UInt64 { 0 }
    func unpreserve(_ file: FileContext) {}
    func freeze(_ file: FileContext) throws(LiveUpdateError) -> UInt64 {
        throw LiveUpdateError(.ioError, "it is stubborn")
    }
    func retrieve(_ file: FileContext) throws(LiveUpdateError) -> RetrievedFile { .kept }
    func finish(_ file: FileContext) {}
}

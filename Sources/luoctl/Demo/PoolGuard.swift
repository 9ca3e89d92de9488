import ArgumentParser
import Foundation
import Glibc
import Platform
import SystemPackage

/// Reserves huge pages in a process of its own, which gives them back when the demo has ended, however it ended: it
/// waits for the end of a pipe that the demo holds open.
struct PoolGuard: Codable {
    private var process: pid_t
    private var pipe: CInt

    /// Starts the guard.
    ///
    /// - Returns: nil with the reason when the pages cannot be had.
    static func start(pages: UInt64, of size: PageSize) throws -> Result<(guard: PoolGuard, taken: UInt64), Reason> {
        var input: [CInt] = [0, 0]
        var output: [CInt] = [0, 0]
        guard unsafe Glibc.pipe(&input) == 0, unsafe Glibc.pipe(&output) == 0 else {
            return .failure(Reason(text: "no pipe"))
        }
        // The demo's end outlives its updates; everything else is for the guard only.
        for end in [input[0], output[0], output[1]] { try FileDescriptor(rawValue: end).setCloseOnExec(true) }
        let arguments = ["luoctl", "pool-guard", "--pages", "\(pages)", "--order", "\(size.order)"]
        let process = try spawn(arguments, input: input[0], output: output[1], closing: input[1])
        close(input[0])
        close(output[1])
        let answer = readLine(from: output[0])
        close(output[0])
        let poolGuard = PoolGuard(process: process, pipe: input[1])
        guard let taken = UInt64(answer) else {
            poolGuard.finish()
            return .failure(Reason(text: answer.isEmpty ? "the guard ended" : answer))
        }
        return .success((poolGuard, taken))
    }

    struct Reason: Error {
        let text: String
    }

    private static func spawn(
        _ arguments: [String], input: CInt, output: CInt, closing: CInt
    ) throws -> pid_t {
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        unsafe posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO)
        unsafe posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)
        unsafe posix_spawn_file_actions_addclose(&actions, closing)
        var strings: [UnsafeMutablePointer<CChar>?] = unsafe arguments.map { unsafe strdup($0) } + [nil]
        defer { unsafe strings.forEach { unsafe free($0) } }
        var process: pid_t = 0
        let result = unsafe posix_spawn(&process, "/proc/self/exe", &actions, nil, &strings, environ)
        guard result == 0 else { throw SystemCallError("posix_spawn", Errno(rawValue: result)) }
        return process
    }

    private static func readLine(from descriptor: CInt) -> String {
        var text = ""
        var byte: UInt8 = 0
        while unsafe read(descriptor, &byte, 1) == 1, byte != UInt8(ascii: "\n") {
            text.append(Character(UnicodeScalar(byte)))
        }
        return text
    }

    /// Lets the guard give the pages back, and waits until it has.
    func finish() {
        close(pipe)
        while waitpid(process, nil, 0) == -1, errno == EINTR {}
    }
}

/// `luoctl pool-guard`: what ``PoolGuard`` starts.
struct PoolGuardCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "pool-guard", shouldDisplay: false)

    @Option var pages: UInt64
    @Option var order: UInt8

    func run() throws {
        // A session of its own: Ctrl-C at the terminal is not for it.
        setsid()
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGPIPE] { _ = Glibc.signal(signal, SIG_IGN) }
        let size = PageSize(order: order)
        let taken: UInt64
        do {
            taken = try HugePageReservation.take(pages, of: size)
        } catch {
            answer(Self.explain(error))
            throw ExitCode(1)
        }
        answer("\(taken)")
        _ = FileHandle.standardInput.readDataToEndOfFile()
        try HugePageReservation.giveBack(taken, of: size)
    }

    private static func explain(_ error: SystemCallError) -> String {
        switch error.errno {
        case .permissionDenied, .notPermitted: "only root can reserve huge pages"
        case .noMemory: "there is not enough memory in one piece to reserve huge pages"
        case .noSuchFileOrDirectory: "this kernel has no huge pages of that size"
        default: "\(error)"
        }
    }

    private func answer(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }
}

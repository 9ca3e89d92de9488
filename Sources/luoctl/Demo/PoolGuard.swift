// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import FoundationEssentials
import Glibc
import LiveUpdatePlatform
import SystemPackage

/// Reserves huge pages in a process of its own, which releases them however the demo ends. It waits for the end of a
/// pipe that the demo holds open.
struct PoolGuard: Codable {
    private var id: pid_t
    private var input: CInt
    private var output: CInt
    private var note: String

    private init(_ process: ChildProcess, _ note: FilePath) {
        id = process.id
        input = process.input.rawValue
        output = process.output.rawValue
        self.note = note.string
    }

    private var process: ChildProcess {
        ChildProcess(id: id, input: FileDescriptor(rawValue: input), output: FileDescriptor(rawValue: output))
    }

    /// Starts the guard, which reserves pages until `pages` are available.
    ///
    /// - Parameters:
    ///   - overcommit: whether to allow that many pages beyond the pool instead.
    ///   - note: the file in which the guard notes the pages that it takes: see ``Platform/HugePageLoan``.
    /// - Returns: the number of pages that the guard took, or the reason if it could not take them.
    static func start(
        pages: UInt64, of size: PageSize, overcommit: Bool = false, notingIn note: FilePath
    ) throws(SystemCallError) -> Result<(guard: PoolGuard, taken: UInt64), Reason> {
        let arguments =
            ["luoctl", "pool-guard", "--pages", "\(pages)", "--order", "\(size.order)", "--note", note.string]
            + (overcommit ? ["--overcommit"] : [])
        let process = try ChildProcess.start(ProgramImage(path: "/proc/self/exe", arguments: arguments))
        let answer = process.readLine() ?? "the process that reserves them ended"
        guard let taken = UInt64(answer) else {
            process.finish()
            return .failure(Reason(text: answer))
        }
        // This process's ends of the pipes outlive the updates.
        try process.input.setCloseOnExec(false)
        try process.output.setCloseOnExec(false)
        return .success((PoolGuard(process, note), taken))
    }

    struct Reason: Error {
        let text: String
    }

    /// Makes the guard release the pages, and waits for it. If the guard was killed, this releases the pages instead.
    func finish() {
        process.finish()
        _ = try? HugePageLoan.settle(FilePath(note))
        DemoPlace.removeDirectory(of: FilePath(note))
    }
}

/// `luoctl pool-guard`: the process that ``PoolGuard`` starts.
struct PoolGuardCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "pool-guard", shouldDisplay: false)

    @Option var pages: UInt64
    @Option var order: UInt8
    @Option var note: String
    @Flag var overcommit = false

    func run() throws {
        // In a session of its own, the process does not get the signals of Ctrl-C at the terminal.
        setsid()
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGPIPE] { _ = Glibc.signal(signal, SIG_IGN) }
        let loan: HugePageLoan
        do {
            loan = try HugePageLoan.take(
                pages, of: PageSize(order: order), overcommit ? .overcommit : .pages, notingIn: FilePath(note))
        } catch {
            answer(Self.explain(error))
            throw ExitCode(1)
        }
        answer("\(loan.count)")
        _ = try InputFile.read(.standardInput)
        try loan.giveBack()
        DemoPlace.removeDirectory(of: FilePath(note))
    }

    private static func explain(_ error: SystemCallError) -> String {
        switch error.errno {
        case .permissionDenied, .notPermitted: "only root can reserve huge pages"
        case .noMemory: "there is not enough memory in one piece to reserve huge pages"
        case .noSuchFileOrDirectory: "this kernel has no huge pages of that size"
        case .invalidArgument: "pages of that size cannot be had beyond the pool"
        default: "\(error)"
        }
    }

    /// Prints an answer. Errors do not matter: the reader may be dead already, and the pages are released all the same.
    private func answer(_ line: String) {
        let text = line + "\n"
        _ = unsafe Glibc.write(STDOUT_FILENO, text, text.utf8.count)
    }
}

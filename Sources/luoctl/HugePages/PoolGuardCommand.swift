// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Glibc
import LiveUpdateCommandLine
import LiveUpdatePlatform
import SystemPackage

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
        PoolGuard.removeDirectory(of: FilePath(note))
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

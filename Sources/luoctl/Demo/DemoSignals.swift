// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import FoundationEssentials
import Glibc
import LiveUpdatePlatform
import SystemPackage

/// Ends the demo on Ctrl-C and similar signals without leaving anything behind.
///
/// The process executes `luoctl demo-end`, which stops its threads wherever they are. After SIGKILL, the next run finds
/// the remains.
enum DemoSignals {
    /// Blocks the signals until ``watch()`` looks for them, also over execve(2). Ignored signals, such as nohup(1)
    /// leaves them, stay ignored.
    static func hold() {
        var signals = ending
        unsafe pthread_sigmask(SIG_BLOCK, &signals, nil)
    }

    /// Ends the run when a signal is pending. The signal stays pending: if the run executes its next image at this
    /// moment, that image still finds it.
    static func watch() {
        let environment = ProgramImage.ownEnvironment()
        let numbers = numbers
        try? startThread {
            while true {
                if let number = numbers.first(where: isWaiting) {
                    let end = ["luoctl", "demo-end", "--signal", "\(number)"]
                    try? ProgramImage(path: "/proc/self/exe", arguments: end, environment: environment).execute()
                    _exit(128 + number)
                }
                usleep(20_000)
            }
        }
    }

    private static var numbers: [CInt] { [SIGINT, SIGQUIT, SIGTERM, SIGHUP].filter { !isIgnored($0) } }

    private static var ending: sigset_t {
        var signals = sigset_t()
        unsafe sigemptyset(&signals)
        for number in numbers { unsafe sigaddset(&signals, number) }
        return signals
    }

    private static func isWaiting(_ number: CInt) -> Bool {
        var waiting = sigset_t()
        unsafe sigpending(&waiting)
        return unsafe sigismember(&waiting, number) == 1
    }

    private static func isIgnored(_ number: CInt) -> Bool {
        var action = sigaction()
        unsafe sigaction(number, nil, &action)
        return unsafe unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
            == unsafeBitCast(SIG_IGN, to: Int.self)
    }
}

/// `luoctl demo-end`: the program that a run executes when a signal ends it.
struct DemoEndCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "demo-end", shouldDisplay: false)

    @Option var signal: CInt

    func run() throws {
        let place = try DemoPlace.current()
        let notes = try? DemoNotes.load(from: place)
        place.remove()
        notes?.finishGuards()
        throw ExitCode(128 + signal)
    }
}

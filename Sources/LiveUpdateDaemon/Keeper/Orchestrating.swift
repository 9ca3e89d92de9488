import Glibc
import Platform
import SystemPackage

/// An orchestrator's process, as its keeper has it.
final class Orchestrating {
    let link: ControlLink
    let process: RunningProcess
    /// Whether it is a child of this process, to be waited for.
    private let isChild: Bool

    /// Starts an image, which finds its end of the link as descriptor 3.
    init(starting image: String, _ arguments: [String]) throws {
        let (ours, theirs) = try MessageSocket.pair()
        link = ControlLink(OwnedDescriptor(taking: ours))
        let end = OwnedDescriptor(taking: theirs)
        let program = ProgramImage(path: image, arguments: ["luod"] + arguments)
        let id = try program.spawn(end.borrowed, as: OrchestratorProcess.link)
        process = try RunningProcess(id)
        isChild = true
    }

    /// One that was found: its keeper has died.
    init(found link: ControlLink, _ process: consuming RunningProcess) {
        self.link = link
        self.process = process
        isChild = false
    }

    /// Ends it, and waits until it is gone: after that nothing of it touches the arena any more.
    ///
    /// - Parameter patience: how long it may take, in milliseconds.
    /// - Returns: how it ended, in words.
    @discardableResult
    func end(within patience: CInt = -1) -> String {
        process.kill()
        return process.waitForEnd(patience) ? reap() : "killed, and does not end"
    }

    func reap() -> String {
        guard isChild else { return "ended" }
        var status: CInt = 0
        while unsafe waitpid(process.id, &status, 0) == -1, errno == EINTR {}
        let signal = status & 0x7F
        return signal == 0 ? "exit code \((status >> 8) & 0xFF)" : "signal \(signal)"
    }
}

import Glibc
import Platform
import SystemPackage

/// An orchestrator's process, as its keeper has it.
final class Orchestrating {
    let link: ControlLink
    let process: RunningProcess

    /// Readable when all threads of the process have ended. The process may have ended before: see `process.hasEnded`.
    var ending: FileDescriptor { process.descriptor }

    /// Starts an image, which finds its end of the link as descriptor 3.
    init(starting image: String, _ arguments: [String]) throws {
        let (ours, theirs) = try MessageSocket.pair()
        link = ControlLink(OwnedDescriptor(taking: ours))
        let end = OwnedDescriptor(taking: theirs)
        let program = ProgramImage(path: image, arguments: ["luod"] + arguments)
        let id = try program.spawn(end.borrowed, as: OrchestratorProcess.link)
        process = try RunningProcess(id)
    }

    /// One that was found: its keeper has died.
    init(found link: ControlLink, _ process: consuming RunningProcess) {
        self.link = link
        self.process = process
    }
}

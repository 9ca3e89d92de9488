import Glibc
import Platform
import SystemPackage

/// An orchestrator's process, as its keeper has it.
final class Orchestrating {
    let link: ControlLink
    let process: RunningProcess

    /// Readable when all threads of the process have ended. The process may have ended before: see `process.hasEnded`.
    var ending: FileDescriptor { process.descriptor }

    /// Starts an image, which finds its end of the link as descriptor 3, and tells it the version and the settings.
    ///
    /// - Parameter settings: those of the keeper.
    init(starting image: String, _ kind: StartedProcess, _ settings: Settings) throws {
        let (ours, theirs) = try MessageSocket.pair()
        link = ControlLink(OwnedDescriptor(taking: ours))
        let end = OwnedDescriptor(taking: theirs)
        let program = ProgramImage(path: image, arguments: ["luod", kind.rawValue, settings.state])
        let id = try program.spawn(end.borrowed, as: StartedProcess.link)
        process = try RunningProcess(id)
        // A process that has died already is an event of its own.
        try? link.send(.hello(.own))
        try? link.send(.settings(kind.settings(settings)))
    }

    /// One that was found: its keeper has died.
    init(found link: ControlLink, _ process: consuming RunningProcess) {
        self.link = link
        self.process = process
    }
}

extension StartedProcess {
    /// The settings of such a process.
    fileprivate func settings(_ keepers: Settings) -> Settings {
        var settings = keepers
        switch self {
        case .orchestrator: settings.descriptors = DescriptorBudget(limit: DescriptorLimit.now).orchestrators
        // A gate holds nothing for clients.
        case .gate: settings.descriptors = Settings.usualDescriptors
        }
        return settings
    }
}

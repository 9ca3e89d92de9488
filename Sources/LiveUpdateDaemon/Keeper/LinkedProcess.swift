// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform
import SystemPackage

/// A process that the keeper has started or found: an orchestrator, or a gate.
final class LinkedProcess {
    let link: ControlLink
    let process: RunningProcess

    /// Readable when all threads of the process have ended. The process may have ended earlier: see `process.hasEnded`.
    var ending: FileDescriptor { process.descriptor }

    /// Starts an image and sends it the version and the settings. The image finds its end of the link as descriptor 3.
    /// `settings` are the keeper's settings.
    init(starting image: String, _ kind: StartedProcess, _ settings: Settings) throws {
        let (ours, theirs) = try MessageSocket.pair()
        link = ControlLink(OwnedDescriptor(taking: ours))
        let end = OwnedDescriptor(taking: theirs)
        let program = ProgramImage(path: FilePath(image), arguments: [kind.name, kind.rawValue, settings.state])
        let id = try program.spawn(end.borrowed, as: StartedProcess.link)
        process = try RunningProcess(id)
        // If the process has already died, that is an event of its own.
        try? link.send(.hello(.own))
        try? link.send(.settings(kind.settings(settings)))
    }

    /// An orchestrator that was found after its keeper has died.
    init(found link: ControlLink, _ process: consuming RunningProcess) {
        self.link = link
        self.process = process
    }
}

extension StartedProcess {
    /// The settings of a process of this kind.
    fileprivate func settings(_ keepers: Settings) -> Settings {
        var settings = keepers
        switch self {
        case .orchestrator, .holder: settings.descriptors = DescriptorBudget(limit: DescriptorLimit.now).orchestrators
        // A gate holds nothing for clients.
        case .gate: settings.descriptors = Settings.usualDescriptors
        }
        return settings
    }
}

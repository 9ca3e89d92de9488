// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform
import SystemPackage

/// The beginning of a process that a keeper has started. The process receives everything over an inherited socket.
package enum StartedProcess: String {
    case orchestrator
    case gate
    case holder

    /// The name of the program in the arguments of the process.
    var name: String { self == .holder ? HolderProcess.name : "luod" }

    /// The descriptor number of the socket in the process.
    static let link: CInt = 3

    /// Runs until the keeper ends this process.
    package func run() throws -> Never {
        switch self {
        case .orchestrator: try OrchestratorProcess.run()
        case .gate: try GateProcess.run()
        case .holder: try HolderProcess.run()
        }
    }

    /// Sends this program's version, and reads the keeper's version and the settings.
    ///
    /// A keeper of another version still gets the version of this program. Then this process ends. The keeper or the
    /// log names both versions.
    static func begin(_ log: Log) throws -> (ControlLink, Settings) {
        let descriptor = FileDescriptor(rawValue: link)
        guard descriptor.isMessageSocket else {
            log.say("only a keeper starts this: run luod without the words orchestrator, gate and holder")
            exitNow(64)
        }
        // The keeper decides when luod ends. Ctrl-C in a terminal would end the processes that log the sessions and
        // files that end.
        leaveProcessGroup()
        let keeper = ControlLink(OwnedDescriptor(taking: descriptor))
        try keeper.descriptor.setCloseOnExec(true)
        try keeper.send(.hello(.own))
        guard case .hello(let version) = try keeper.receive(.waiting)?.message else {
            log.say("the keeper did not begin with its version: is it a luod of this version?")
            exitNow(69)
        }
        guard version.isOwn else {
            log.say(ControlVersion.own.mismatch(of: ProgramImage.ownPath().string, withKeeper: version))
            exitNow(69)
        }
        guard case .settings(let settings) = try keeper.receive(.waiting)?.message else { exitNow(1) }
        LogFormat.choose(settings.logFormat)
        DescriptorLimit.set(to: settings.descriptors)
        growDescriptorTable(to: settings.descriptors)
        return (keeper, settings)
    }
}

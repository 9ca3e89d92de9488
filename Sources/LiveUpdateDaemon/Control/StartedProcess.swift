import Glibc
import Platform
import SystemPackage

/// The beginning of a process that a keeper has started. The process gets everything over the socket that it inherits.
public enum StartedProcess: String {
    case orchestrator
    case gate

    /// The number of the socket in the process.
    static let link: CInt = 3

    /// Runs until the keeper ends this process.
    public func run() throws -> Never {
        switch self {
        case .orchestrator: try OrchestratorProcess.run()
        case .gate: try GateProcess.run()
        }
    }

    /// Says this program's version, and reads the keeper's, and the settings.
    ///
    /// A keeper of another version gets the version of this program as an answer, and this process ends: the keeper, or
    /// the log, names both.
    static func begin(_ log: Log) throws -> (ControlLink, Settings) {
        let descriptor = FileDescriptor(rawValue: link)
        guard descriptor.isMessageSocket else {
            log.say("only a keeper starts this: run luod without the words orchestrator and gate")
            exitNow(64)
        }
        // The keeper decides when luod ends: Ctrl-C in a terminal would end the processes that log what ends with it.
        leaveProcessGroup()
        let keeper = ControlLink(OwnedDescriptor(taking: descriptor))
        try keeper.descriptor.setCloseOnExec(true)
        try keeper.send(.hello(.own))
        guard case .hello(let version) = try keeper.receive(.waiting)?.message else {
            log.say("the keeper did not begin with its version: is it a luod of this version?")
            exitNow(69)
        }
        guard version.isOwn else {
            log.say(ControlVersion.own.mismatch(of: ownExecutable(), withKeeper: version))
            exitNow(69)
        }
        guard case .settings(let settings) = try keeper.receive(.waiting)?.message else { exitNow(1) }
        DescriptorLimit.set(to: settings.descriptors)
        growDescriptorTable(to: settings.descriptors)
        return (keeper, settings)
    }
}

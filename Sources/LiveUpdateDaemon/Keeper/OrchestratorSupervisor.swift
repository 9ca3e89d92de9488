import LiveUpdate
import Platform
import SystemPackage

/// The orchestrator that runs, as its keeper has it: started, watched, and started again when it dies.
///
/// 1. The first one is started, or found: by a keeper that takes the place of one that died.
/// 2. When it dies, the next one starts at once with all descriptors, and makes the pause of ``RestartPolicy`` itself.
/// 3. After too many deaths at the start (``StartPolicy``) the next one refuses.
/// 4. After an update the next image is the one that runs. The one before it is *retired*, and ends when the next one
///    answers: its end takes time that clients would wait.
final class OrchestratorSupervisor {
    /// The orchestrator that runs.
    private(set) var current: Orchestrating
    /// The program that is started again.
    private(set) var image: KeptImage
    /// The orchestrator before the one that runs, until that has answered.
    private var retired: Orchestrating?
    private var restarts = RestartPolicy()
    private var starts = StartPolicy()
    private let watch: OrchestratorWatch
    private let settings: Settings
    private let children: ChildPoller
    private let log: Log

    /// - Parameters:
    ///   - found: the orchestrator that runs already; nil: one is started.
    ///   - memory: the memory that is shared with orchestrators.
    /// - Throws: the errors of starting a process.
    init(
        _ found: Orchestrating?, _ image: KeptImage, memory: ControlMemory, _ settings: Settings,
        _ children: ChildPoller, _ log: Log
    ) throws {
        self.image = image
        self.settings = settings
        self.children = children
        self.log = log
        watch = OrchestratorWatch(memory, patience: settings.silence, log)
        current = try found ?? Orchestrating(starting: image.executable, .orchestrator, settings)
    }

    // MARK: Watching

    /// Counts a turn of the keeper's loop, and looks whether the orchestrator answers.
    ///
    /// - Parameter waitsForKeeper: whether the orchestrator only waits for the keeper: it has handed over.
    func tick(waitsForKeeper: Bool) { watch.tick(current, waitsForKeeper: waitsForKeeper) }

    /// The orchestrator serves, or refuses to and goes on.
    func noteBegin() { starts.noteBegin() }

    // MARK: Deaths

    /// A death of the orchestrator, and what follows from it.
    struct Death {
        /// How it ended, in words.
        var how: String
        /// The pause of the next one, in milliseconds.
        var pause: UInt64
        /// Why the next one must not read the state; nil when it may.
        var refusal: String?
    }

    /// Takes note of the end of the orchestrator.
    ///
    /// - Parameter user: finds the user of the connection in a slot.
    func noteDeath(user: (DescriptorSlot) -> UInt32?) -> Death {
        endRetired()
        children.forget(current)
        let status = children.reap(current)
        let how = status?.description ?? "ended"
        watch.countDeath(status, user: user)
        let mustRefuse = starts.noteDeath(watch.cause(status))
        watch.beginAgain()
        let refusal = "\(starts.deaths) orchestrators died before they could serve, at last with \(how)"
        return Death(
            how: how, pause: restarts.pause(afterDeathAt: milliseconds()), refusal: mustRefuse ? refusal : nil)
    }

    /// Starts the next orchestrator, which is handed all descriptors.
    ///
    /// - Throws: the error of starting it, or of handing it the descriptors. No process is left then.
    func startNext(_ begin: ControlMessage, _ table: DescriptorVault, isStored: Bool) throws {
        let started = try Orchestrating(starting: image.executable, .orchestrator, settings)
        do {
            try table.handTo(started, begin, isStored: isStored)
            try children.watch(started)
            current = started
        } catch {
            children.forget(started)
            children.end(started)
            throw error
        }
    }

    // MARK: Updates

    /// The next image is the orchestrator that runs from now on.
    func switchTo(_ next: NextImage) {
        children.forget(current)
        endRetired()
        retired = current
        current = next.process
        image = next.image
        watch.beginAgain()
        starts.noteBegin()
    }

    /// Ends the orchestrator before the one that runs.
    func endRetired() {
        if let retired { children.end(retired) }
        retired = nil
    }

    /// Ends all orchestrators, with luod.
    func end() {
        endRetired()
        children.end(current)
    }
}

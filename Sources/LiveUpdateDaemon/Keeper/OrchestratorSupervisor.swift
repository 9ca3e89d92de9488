// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// Manages the current orchestrator: starts it, watches it, and starts another when it dies.
///
/// 1. The first orchestrator is started; or it is found, by a keeper that replaces a dead one.
/// 2. When it dies, the next one starts at once with all descriptors. The next one itself makes the pause of
///    ``RestartPolicy``.
/// 3. After too many deaths at the start (``StartPolicy``) the next one refuses clients.
/// 4. After an update, the next image is the current orchestrator. The old one is *retired*, and ends when the next one
///    answers: ending it earlier would make clients wait.
final class OrchestratorSupervisor {
    /// The current orchestrator.
    private(set) var current: LinkedProcess
    /// The program of the current orchestrator, which is started again after a death.
    private(set) var image: KeptImage
    /// The orchestrator before the current one, until the current one has answered.
    private var retired: LinkedProcess?
    private var restarts = RestartPolicy()
    private var starts = StartPolicy()
    private let watch: OrchestratorWatch
    private let settings: Settings
    private let children: ChildPoller
    private let log: Log

    /// Supervises `found`, an orchestrator that runs already, or starts one if `found` is nil. `memory` is the memory
    /// that the keeper shares with orchestrators.
    ///
    /// - Throws: the errors of starting a process.
    init(
        _ found: LinkedProcess?, _ image: KeptImage, memory: ControlMemory, _ settings: Settings,
        _ children: ChildPoller, _ log: Log
    ) throws {
        self.image = image
        self.settings = settings
        self.children = children
        self.log = log
        watch = OrchestratorWatch(memory, patience: settings.silence, log)
        current = try found ?? LinkedProcess(starting: image.executable, .orchestrator, settings)
    }

    // MARK: Watching

    /// Counts a turn of the keeper's loop, and checks whether the orchestrator answers.
    ///
    /// - Parameter waitsForKeeper: whether the orchestrator has handed over and only waits for the keeper.
    func tick(waitsForKeeper: Bool) { watch.tick(current, waitsForKeeper: waitsForKeeper) }

    /// Notes that the orchestrator serves, or that it continues but refuses clients.
    func noteBegin() { starts.noteBegin() }

    // MARK: Deaths

    /// A death of the orchestrator, and its consequences.
    struct Death {
        /// How it ended, as text.
        var how: String
        /// The process that ended.
        var process: CInt
        /// The pause that the next orchestrator makes, in milliseconds.
        var pause: UInt64
        /// The reason why the next orchestrator must not read the state; nil when it may.
        var refusal: String?
    }

    /// Notes the end of the orchestrator. `user` finds the user of the connection in a slot.
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
            how: how, process: current.process.id, pause: restarts.pause(afterDeathAt: milliseconds()),
            refusal: mustRefuse ? refusal : nil)
    }

    /// Starts the next orchestrator and hands it all descriptors.
    ///
    /// - Throws: the error of starting it, or of handing it the descriptors. In both cases no process is left.
    func startNext(_ begin: ControlMessage, _ table: DescriptorVault, isStored: Bool) throws {
        let started = try LinkedProcess(starting: image.executable, .orchestrator, settings)
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

    /// Makes the next image the current orchestrator.
    func switchTo(_ next: NextImage) {
        children.forget(current)
        endRetired()
        retired = current
        current = next.process
        image = next.image
        watch.beginAgain()
        starts.noteBegin()
    }

    /// Ends the orchestrator before the current one.
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

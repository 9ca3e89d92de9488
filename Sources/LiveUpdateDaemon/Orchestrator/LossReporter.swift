// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandlers
import LiveUpdatePlatform
import Logging

/// Reports the sessions and files that luod loses, at its end and at its start.
final class LossReporter {
    private let store: DescriptorMirror
    private let orchestrator: Orchestrator
    private let settings: Settings
    private let log: Log

    init(_ store: DescriptorMirror, _ orchestrator: Orchestrator, _ settings: Settings, _ log: Log) {
        self.store = store
        self.orchestrator = orchestrator
        self.settings = settings
        self.log = log
    }

    /// The sessions and files that would end with luod now, and those that would survive.
    func endReport() -> EndReport {
        let sessions = ((try? orchestrator.status())?.sessions ?? []).filter { !$0.isFinished }
        let remains: EndReport.Remains =
            store.isStored
            ? .descriptorStore
            : settings.endsUnused || !hasArena ? .nothing : .arena(StateDirectory(settings.state).arena)
        return EndReport(sessions.map(ending), remains)
    }

    /// Whether the next luod finds the arena: another program may have removed it.
    private var hasArena: Bool {
        store.descriptor(.arena).map { StateDirectory(settings.state).hasArena($0) } ?? false
    }

    private func ending(_ session: Status.Session) -> EndReport.Session {
        EndReport.Session(
            name: "\(session.name)", user: session.holder.user,
            staysWithoutHolder: session.holder.isDetached || !session.isOpen,
            files: session.files.compactMap(ending))
    }

    /// - Returns: nil for a file that is already lost.
    private func ending(_ file: Status.File) -> EndReport.File? {
        guard let held = store.descriptor(in: file.slot) else { return nil }
        let isNamed =
            file.compatible == HugetlbfsFileHandler.format || orchestrator.kernelFate(of: file.compatible) == .stays
        // Only memory files are asked for their size. Another file system may not answer, and its files are not lost.
        let status = file.compatible == HeldFileHandler.format ? nil : try? FileStatus(of: held)
        return EndReport.File(
            bytes: status?.size ?? 0, hasName: isNamed && (status?.links ?? 0) > 0,
            isStorable: (try? held.mayAskServer()) == false)
    }

    /// Logs the sessions and files that end with luod, and those that survive.
    func logEnd() { log.sayAll(endReport().lines, .warning) }

    /// Logs the sessions and files that were lost before this start. Call this before ``Resumption/resume()``,
    /// which ends lost sessions.
    func logStart() {
        guard let status = try? orchestrator.status() else { return }
        let losses = StartLosses(status.sessions) { store.entry($0) != nil }
        log.sayAll(losses.lines, .error)
    }
}

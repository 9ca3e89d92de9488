import LiveUpdate
import LiveUpdateHandlers
import Platform

/// What is lost with luod, when it ends, and what a luod that starts does not find any more.
extension Server {
    /// What ends with luod now, and what survives.
    func endReport() -> EndReport {
        let sessions = ((try? orchestrator.status())?.sessions ?? []).filter { !$0.isFinished }
        let remains: EndReport.Remains =
            store.isStored
            ? .descriptorStore
            : settings.endsUnused ? .nothing : .arena(StateDirectory(settings.state).arena)
        return EndReport(sessions.map(ending), remains)
    }

    private func ending(_ session: Status.Session) -> EndReport.Session {
        EndReport.Session(
            name: "\(session.name)", user: session.holder.owner,
            staysWithoutHolder: session.holder.isDetached || !session.isOpen,
            files: session.files.compactMap(ending))
    }

    /// - Returns: nil for a file that is lost already.
    private func ending(_ file: Status.File) -> EndReport.File? {
        guard let held = store.descriptor(in: file.slot) else { return nil }
        let isNamed = file.compatible == HugetlbfsFileHandler.format
        // Only memory files have a size that is lost with them, and only they are asked: another file system may not answer.
        let status = file.compatible == HeldFileHandler.format ? nil : try? FileStatus(of: held)
        return EndReport.File(
            bytes: status?.size ?? 0, hasName: isNamed && (status?.links ?? 0) > 0,
            isStorable: (try? held.mayAskServer()) == false)
    }

    /// Logs what ends with luod, and what survives.
    func logEnd() { for line in endReport().lines { log.say(line) } }

    /// Logs what this luod has not found any more. Before ``resume()``, which ends the sessions that are lost.
    func logStartLosses() {
        guard let status = try? orchestrator.status() else { return }
        let losses = StartLosses(status.sessions) { store.entry($0) != nil }
        for line in losses.lines { log.say(line) }
    }
}

// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCommandLine
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol

/// The verdict on the state of luod: a list of faults, each with a command that mends it. It does no I/O.
struct StatusVerdict: Equatable {
    /// Something that is wrong.
    struct Finding: Equatable, Encodable {
        let what: String
        let remedy: String

        init(_ what: String, _ remedy: String) { (self.what, self.remedy) = (what, remedy) }
    }

    /// The faults. With one of them luod is degraded.
    private(set) var faults: [Finding] = []
    /// The findings that prevent a later request, and with which luod is healthy.
    private(set) var notices: [Finding] = []

    var isHealthy: Bool { faults.isEmpty }

    /// Judges a status. The commands name the state directory that was named to luoctl.
    init(_ status: LuodStatus, state: String? = nil) {
        addProcesses(status)
        addArena(status)
        addMissingMemory(status)
        addLostFiles(status, state)
        addProblems(status)
        addLimits(status)
        addReadyImage(status)
    }

    private mutating func addProcesses(_ status: LuodStatus) {
        if let refusal = status.refusal {
            faults.append(
                Finding(
                    "luod cannot read its state, and serves only root: \(refusal)",
                    "luoctl inspect shows the readable part; luoctl reload IMAGE starts a luod that can read it"))
        }
        if status.keeper == 0 {
            faults.append(
                Finding(
                    "the keeper has died, so memory files are lost if the orchestrator dies, too",
                    "start luod on this state again"))
        } else if !status.keeperAnswers {
            faults.append(
                Finding(
                    "keeper \(status.keeper) does not answer",
                    "let it continue (kill -CONT \(status.keeper)), or end it (kill -9 \(status.keeper)) and start luod again"
                ))
        }
    }

    private mutating func addArena(_ status: LuodStatus) {
        guard status.arenaIsNamed == false else { return }
        faults.append(
            Finding(
                "the arena was removed, so that the sessions end with luod",
                "finish the sessions, and start luod again"))
    }

    /// luod's text already has the remedy.
    private mutating func addMissingMemory(_ status: LuodStatus) {
        faults += (status.missing ?? []).map { Finding("persistent memory is missing", $0) }
    }

    private mutating func addLostFiles(_ status: LuodStatus, _ state: String?) {
        let lost = status.sessions.flatMap { session in session.files.filter(\.isLost).map { (session, $0) } }
        guard let (session, file) = lost.first else { return }
        let all = lost.count == 1 ? session.subject(of: file) : "the first is \(session.subject(of: file))"
        faults.append(
            Finding("\(counted(lost.count, "file")) lost: \(all)", session.remedy(forLost: file, state)))
    }

    private mutating func addProblems(_ status: LuodStatus) {
        let outgoing = status.sessions.filter { $0.direction == Direction.outgoing.rawValue }
        let count = outgoing.flatMap(\.files).count { $0.problem != nil && !$0.isLost }
        guard count > 0 else { return }
        notices.append(
            Finding(
                "\(counted(count, "file")) cannot be frozen, so an update is refused",
                "the problems below say why; luoctl update --leave-out goes on without them"))
    }

    private mutating func addLimits(_ status: LuodStatus) {
        for memory in status.memory ?? [] where memory.isOver {
            notices.append(
                Finding(
                    "user \(memory.user) is over the limit of \(ByteCount.text(memory.limit ?? 0)), and can preserve no file",
                    "the user unpreserves files, or start luod with a larger limit"))
        }
    }

    private mutating func addReadyImage(_ status: LuodStatus) {
        guard let ready = status.ready, let failure = ready.failure else { return }
        let image = ready.image.isEmpty ? "" : " " + ready.image.shellQuoted
        notices.append(
            Finding(
                "the image that luoctl load made ready (\(ready.words)) has ended: \(failure)",
                "luoctl load\(image) starts it again"))
    }

    // MARK: Text

    /// The verdict in one line, and further lines for further findings.
    var lines: [String] {
        let others = notices.map { Style.notice("notice: \($0.text)") }
        guard let first = faults.first else { return [Style.good("healthy")] + others }
        return [Style.bad("degraded: \(first.text)")] + faults.dropFirst().map { Style.bad("also: \($0.text)") }
            + others
    }
}

extension StatusVerdict.Finding {
    fileprivate var text: String { "\(what.shown): \(remedy.shown)" }
}

extension LuodStatus.File {
    /// Whether the memory of the file is gone. A descriptor that is only held has no size.
    var isLost: Bool { size == nil }
}

extension LuodStatus.Session {
    /// The command that removes a lost file from the session. A user has chosen the session's name, so it is quoted.
    fileprivate func remedy(forLost file: LuodStatus.File, _ state: String?) -> String {
        let place = state.map { "--state=\($0)".shellQuoted + " " } ?? ""
        let session = "\(place)--user \(owner) " + "--session=\(name)".shellQuoted
        guard direction == Direction.incoming.rawValue else {
            return "luoctl unpreserve \(session) --token \(file.token) removes it"
        }
        let others = files.count { !$0.isLost }
        let more = others == 0 ? "" : ", and releases its \(counted(others, "other file"))"
        return "luoctl finish \(session) ends the session\(more)"
    }
}

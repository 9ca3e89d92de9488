import Glibc
import LiveUpdate
import Platform
import SystemPackage

/// What STATUS answers with: JSON of what the user may see; root sees all. docs/daemon.md has its fields.
struct StatusDocument {
    let json: String

    init(_ server: Server, for user: SessionOwner) throws(LiveUpdateError) {
        let status = try server.orchestrator.status()
        let keeper = (try? server.keeper?.descriptor.peer().process) ?? 0
        let gate = StateDirectory(server.settings.state).gate ?? 0
        let sessions = status.sessions.filter { user == 0 || $0.holder.owner == user }
        let problems = Problems((try? server.orchestrator.obstacles()) ?? [])
        json =
            JSON.object([
                ("schema", .string("luod-status-1")),
                ("orchestrator", .number(Int64(getpid()))), ("keeper", .number(Int64(keeper))),
                (
                    "processes",
                    .array(
                        [("keeper", keeper), ("orchestrator", getpid()), ("gate", gate)].filter { $0.1 != 0 }
                            .compactMap(
                                Self.process))
                ),
                ("keeperAnswers", .bool(keeper != 0 && !server.keeperWatch.isSilent)),
                ("refusal", server.refusal.map { .string($0.failure.description) } ?? .null),
                ("updates", .number(Int64(status.updateNumber))),
                ("lastBlackout", server.blackout.map { .number(Int64(clamping: $0)) } ?? .null),
                ("arenaSize", .number(Int64(status.arenaSize))), ("arenaUsed", .number(Int64(status.arenaUsed))),
                ("sessions", .array(sessions.map { session in Self.session(session, server, problems) })),
                ("flbs", .array(status.flbs.map(Self.flb))),
            ]).text
    }

    /// What a process may do: what the kernel says, not what was set. Nil for one that is gone.
    private static func process(_ name: String, _ number: CInt) -> JSON? {
        guard let rights = try? ProcessRights(of: number) else { return nil }
        return .object([
            ("name", .string(name)), ("process", .number(Int64(number))),
            ("capabilities", .array(rights.capabilities.map(JSON.string))),
            ("hasNoNewPrivileges", .bool(rights.hasNoNewPrivileges)), ("seccomp", .string("\(rights.seccomp)")),
        ])
    }

    private static func session(
        _ session: Status.Session, _ server: Server, _ problems: Problems
    ) -> JSON {
        .object([
            ("name", .string(session.name.description)), ("owner", .number(Int64(session.holder.owner))),
            ("direction", .string(session.direction.rawValue)), ("isOpen", .bool(session.isOpen)),
            ("isFinished", .bool(session.isFinished)), ("isDetached", .bool(session.holder.isDetached)),
            ("isAttached", .bool(server.store.entry(session.holder.slot) != nil)),
            (
                "files",
                .array(
                    session.files.map { file in
                        Self.file(file, size(file, server), problem: problems.reason(file, in: session))
                    })
            ),
        ])
    }

    /// The file's size in bytes; nil for a lost file.
    private static func size(_ file: Status.File, _ server: Server) -> UInt64? {
        server.store.descriptor(in: file.slot).flatMap { try? FileStatus(cached: $0).size }
    }

    private static func file(_ file: Status.File, _ size: UInt64?, problem: String?) -> JSON {
        .object([
            // A string, because not every reader of JSON has 64-bit numbers.
            ("token", .string("\(file.token)")), ("compatible", .string(file.compatible)),
            ("size", size.map { .number(Int64(clamping: $0)) } ?? .null),
            ("retrieved", .number(Int64(file.retrieveStatus.number))),
            ("problem", problem.map(JSON.string) ?? .null),
        ])
    }

    private static func flb(_ flb: Status.FLB) -> JSON {
        .object([
            ("compatible", .string(flb.compatible)), ("direction", .string(flb.direction.rawValue)),
            ("count", .number(Int64(clamping: flb.count))),
        ])
    }
}

/// The reasons why files cannot be frozen, or were left out of the last update.
private struct Problems {
    private struct Place: Hashable {
        var user: SessionOwner
        var session: SessionName
        var token: UInt64
    }

    private let reasons: [Place: String]

    init(_ obstacles: [FreezeObstacle]) {
        let places = obstacles.map { (Place(user: $0.user, session: $0.session, token: $0.token), $0.reason) }
        reasons = Dictionary(places) { first, _ in first }
    }

    func reason(_ file: Status.File, in session: Status.Session) -> String? {
        guard session.direction == .outgoing, !reasons.isEmpty else { return file.problem }
        return reasons[Place(user: session.holder.owner, session: session.name, token: file.token)]
    }
}

/// Just enough of JSON to write it, without Foundation, whose start would be part of every blackout.
indirect enum JSON {
    case null
    case bool(Bool)
    case number(Int64)
    case string(String)
    case array([JSON])
    case object([(String, JSON)])

    var text: String {
        switch self {
        case .null: "null"
        case .bool(let value): value ? "true" : "false"
        case .number(let value): "\(value)"
        case .string(let value): Self.quoted(value)
        case .array(let values): "[" + values.map(\.text).joined(separator: ",") + "]"
        case .object(let members):
            "{" + members.map { Self.quoted($0.0) + ":" + $0.1.text }.joined(separator: ",") + "}"
        }
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": result += "\\\(scalar)"
            case "\u{0}"..<" ":
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}

// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCommandLine
import LiveUpdateDevice
import LiveUpdateProtocol

/// The sessions of the status, in a fixed order: `luoctl session list`.
struct SessionList: Encodable {
    struct Session: Encodable {
        let name: String
        let owner: UInt32
        let direction: String
        let files: Int
        /// The sizes of all files that are not lost.
        let bytes: UInt64
        let lostFiles: Int
        let holder: String
    }

    let version = 1
    let sessions: [Session]

    init(_ status: LuodStatus) {
        sessions = status.sessions.map(Session.init).sorted { Self.key($0) < Self.key($1) }
    }

    private static func key(_ session: Session) -> (UInt32, String, String) {
        (session.owner, session.name, session.direction)
    }

    /// A table for people. If `withUsers` is true, the table shows the user of each session.
    func text(withUsers: Bool) -> String {
        guard !sessions.isEmpty else { return "no sessions" }
        var table = Table(["session"] + (withUsers ? ["user"] : []) + ["direction", "holder", "files", "size"])
        for session in sessions {
            let lost = session.lostFiles == 0 ? "" : ", \(session.lostFiles) lost"
            let files = "\(session.files)\(lost)"
            table.add(
                [session.name.shown] + (withUsers ? ["\(session.owner)"] : [])
                    + [session.direction.shown, session.holder, files, ByteCount.text(session.bytes)])
        }
        return table.text
    }
}

extension SessionList.Session {
    init(_ session: LuodStatus.Session) {
        name = session.name
        owner = session.owner
        direction = session.direction
        files = session.files.count
        bytes = session.files.reduce(0) { sum, file in
            let (next, overflow) = sum.addingReportingOverflow(file.size ?? 0)
            return overflow ? .max : next
        }
        lostFiles = session.files.count { $0.size == nil }
        holder = session.state
    }
}

/// The lines of a text of luod, without control characters that a terminal would obey.
enum ShownText {
    static func lines(_ text: String) -> [String] { text.split(separator: "\n").map { String($0).shown } }
}

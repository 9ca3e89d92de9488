// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCommandLine
import LiveUpdateDevice
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// The sessions and tokens of the files that luod holds, by file.
struct HeldFileNames {
    /// The name under which a user finds a file.
    struct Name: Encodable, Equatable {
        var session: String
        var user: UInt32
        var token: String

        var text: String { "\(session.shown) token \(token)" + (user == 0 ? "" : " of user \(user)") }
    }

    private var names: [FileIdentity: Name] = [:]

    /// Collects the names from a status. Without a luod that answers, the status is nil, and there are no names.
    init(_ status: LuodStatus?) {
        for session in status?.sessions ?? [] {
            for file in session.files {
                guard let device = file.device, let inode = file.inode else { continue }
                let name = Name(session: session.name, user: session.owner, token: file.token)
                names[FileIdentity(device: device, inode: inode)] = name
            }
        }
    }

    var isEmpty: Bool { names.isEmpty }

    func name(of file: FileIdentity) -> Name? { names[file] }
}

extension DaemonOptions {
    /// The status of luod; nil if no luod answers. A report about the machine goes on without it.
    var status: LuodStatus? {
        let path = state.map { FilePath($0) }
        let patience = AnswerPatience(state: path, seconds: max(1, waiting.timeout))
        guard let device = try? LiveUpdateDevice.luod(state: path, patience: patience) else { return nil }
        return try? LuodStatus(of: device)
    }
}

// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCommandLine
import LiveUpdateCore
import LiveUpdateDevice
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// The files of luod's sessions that are on DAX regions.
struct DaxHoldings {
    /// A file of a session.
    struct File: Equatable {
        let user: UInt32
        let session: String
        let direction: String
        let token: String
        let size: UInt64
        /// The number of the disk that the file is on, or of the devdax device itself.
        let device: UInt64
    }

    /// The files; nil when luod does not say which files it has.
    let files: [File]?
    /// The number of files on DAX that luod has lost.
    let lost: Int
    /// The reason why luod does not say which files it has; nil when it does.
    let reason: String?

    /// Holds files, or the reason why there are none.
    init(files: [File]?, lost: Int = 0, reason: String? = nil) {
        self.files = files
        self.lost = lost
        self.reason = reason
    }

    /// The files of a status.
    init(_ status: LuodStatus) {
        let staying = status.sessions.flatMap { session in
            session.files.filter { $0.kernel == KernelFate.stays.rawValue }.map { (session, $0) }
        }
        let held = staying.compactMap { session, file -> File? in
            guard let device = file.device, let size = file.size else { return nil }
            return File(
                user: session.owner, session: session.name, direction: session.direction, token: file.token, size: size,
                device: device)
        }
        self.init(files: held, lost: staying.count - held.count)
    }

    /// Asks luod.
    init(of options: DaemonOptions) {
        do throws(LiveUpdateError) {
            let state = options.state.map { FilePath($0) }
            let timeout = options.waiting.timeout
            let patience = timeout == 0 ? nil : AnswerPatience(state: state, seconds: timeout)
            let status = try LuodStatus(of: LiveUpdateDevice.luod(state: state, patience: patience))
            if let refusal = status.refusal {
                self.init(files: nil, reason: "luod cannot read its state: \(refusal)")
            } else {
                self.init(status)
            }
        } catch {
            self.init(files: nil, reason: error.reason)
        }
    }

    /// The sessions with files on a device, in the order of the status, and their files.
    func sessions(on device: DaxDevice) -> [Session] {
        var sessions: [Session] = []
        for file in files ?? [] where device.numbers.contains(file.device) {
            if let last = sessions.last, last.isOf(file) {
                sessions[sessions.count - 1].files.append(file)
            } else {
                sessions.append(Session(files: [file]))
            }
        }
        return sessions
    }

    /// A session with files on a device.
    struct Session: Equatable {
        /// The files, at least one.
        var files: [File]

        fileprivate func isOf(_ file: File) -> Bool {
            (files[0].user, files[0].session, files[0].direction) == (file.user, file.session, file.direction)
        }

        /// The bytes of the files.
        var bytes: UInt64 {
            files.reduce(0) { sum, file in
                let (next, overflow) = sum.addingReportingOverflow(file.size)
                return overflow ? .max : next
            }
        }

        /// The tokens for people: the first eight, and the number of the others.
        var tokens: String {
            let most = 8
            let shown = files.prefix(most).map(\.token.shown).joined(separator: ", ")
            return files.count > most ? "\(shown) and \(files.count - most) more" : shown
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdate
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// Preserves files until RLIMIT_NOFILE is reached, and updates with these files.
enum Limit {
    static func run(limit: Int) throws {
        let process = try begin()
        guard try process.orchestrator.status().updateNumber == 0 else {
            let session = try process.orchestrator.retrieveSession("s")
            return try count(session)
        }
        var value = rlimit(rlim_cur: rlim_t(limit), rlim_max: rlim_t(limit))
        unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &value)
        let session = try process.orchestrator.createSession("s")
        let before = try fill(session)
        let error = try again(session)
        say([
            "held": "\(session.tokens.count)", "errno": "\(error?.errno.rawValue ?? 0)",
            "remedy": error?.remedy ?? "", "left": "\(try Descriptors().files - before)",
        ])
        try process.reboot(into: ownImage(), unchecked: true)
    }

    /// Preserves files until the first error.
    ///
    /// - Returns: the number of open file descriptors then.
    private static func fill(_ session: Session) throws -> Int {
        for token in UInt64(0)... {
            guard let file = try? makeFile(token) else { break }
            defer { try? closeDescriptor(file) }
            do throws(LiveUpdateError) {
                try session.preserve(file, token: token)
            } catch {
                break
            }
        }
        return try Descriptors().files
    }

    private static func again(_ session: Session) throws -> LiveUpdateError? {
        let file = try makeFile(1 << 40)
        defer { try? closeDescriptor(file) }
        do throws(LiveUpdateError) {
            try session.preserve(file, token: 1 << 40)
            return nil
        } catch {
            return error
        }
    }

    private static func count(_ session: Session) throws {
        var intact = 0
        for token in session.tokens {
            let file = try session.retrieve(token: token)
            if try holds(file, token) { intact += 1 }
        }
        try session.close()
        say(["intact": "\(intact)"])
    }
}

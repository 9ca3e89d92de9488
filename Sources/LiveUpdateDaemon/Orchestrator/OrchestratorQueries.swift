// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandlers

/// Queries of the core that several calls of luod need.
extension Orchestrator {
    /// The number of updates before this boot. The labels of devices contain it.
    var boot: UInt32 {
        get throws(LiveUpdateError) { UInt32(truncatingIfNeeded: try status().updateNumber) }
    }

    /// The persistent memory that files of the previous boot need, and that this kernel lacks or has not mounted.
    var missingMemory: [String] {
        // Without files on DAX there is no such FLB.
        (try? withIncoming(DaxRegions()) { $0.missing }) ?? []
    }

    /// Finds a session of a user by its name. A `direction` of nil means either. If both an incoming and an outgoing
    /// session have this name, the outgoing one is used.
    ///
    /// - Throws: ENOENT.
    func find(
        _ name: SessionName?, _ direction: Direction?, of user: SessionUser
    ) throws(LiveUpdateError) -> Status.Session {
        for direction in direction.map({ [$0] }) ?? [.outgoing, .incoming] {
            if let name, let found = try session(name, direction, of: user) { return found }
        }
        if let name, direction == .outgoing, try session(name, .incoming, of: user) != nil {
            throw LiveUpdateError(
                .noSuchFileOrDirectory, "an update has handed session \"\(name)\" of user \(user) over",
                remedy: "retrieve its files and finish it (luoctl retrieve, luoctl finish); then make it again")
        }
        throw LiveUpdateError(
            .noSuchFileOrDirectory, "user \(user) has no session \"\(name, default: "")\"",
            remedy: "luoctl session list shows all sessions; luoctl session create makes one")
    }
}

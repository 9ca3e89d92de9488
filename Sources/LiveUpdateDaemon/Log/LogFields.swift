// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateMachine
import Logging

extension Logger.MetadataValue {
    /// A number, which is a number in JSON, too.
    static func number(_ number: some FixedWidthInteger & Sendable) -> Self {
        .stringConvertible(Int64(clamping: number))
    }

    /// A time in milliseconds, with three digits behind the point.
    static func milliseconds(_ nanoseconds: UInt64) -> Self {
        .stringConvertible(Double(nanoseconds / 1000) / 1000)
    }
}

extension ClientID {
    /// The client: its user and its process.
    var fields: Logger.Metadata { ["client_user": .number(user), "client": .number(process)] }
}

extension UpdateClient {
    /// The client: its user and its process.
    var fields: Logger.Metadata { ["client_user": .number(user), "client": .number(process)] }
}

extension Settings {
    /// The versions and the limits of this luod.
    var fields: Logger.Metadata {
        var fields: Logger.Metadata = [
            "version": "\(packageVersion)", "control_link": .number(ControlVersion.current), "state": "\(state)",
            "max_arena": .number(arena.limit), "max_sessions": .number(limits.sessions),
            "max_files": .number(limits.files), "max_user_arena": .number(limits.arenaBytes),
            "max_user_descriptors": .number(userDescriptors), "max_descriptors": .number(descriptors),
        ]
        fields["max_user_memory"] = memory.bytes.map { .number($0) }
        return fields
    }
}

extension Session {
    /// The session, its user, and the client of the request.
    func fields(for client: ClientID) -> Logger.Metadata {
        client.fields.merging(["session": "\(name)", "user": .number(holder.user)]) { $1 }
    }
}

/// The phases of an update or a reload, for its line in the log.
struct UpdatePhases {
    /// The times at which the phases ended, in nanoseconds of CLOCK_MONOTONIC: the request was read; prepared;
    /// published; taken over; switched; answered. A load has only the first two.
    var times: [UInt64]

    private static let names = ["load_ms", "publish_ms", "take_over_ms", "switch_ms", "answer_ms"]

    /// The time without answers, in nanoseconds; nil without one.
    var blackout: UInt64? { times.count == Self.names.count + 1 ? times[5] &- times[1] : nil }

    /// The duration of each phase.
    var fields: Logger.Metadata {
        var fields: Logger.Metadata = [:]
        for (name, (start, end)) in zip(Self.names, zip(times, times.dropFirst())) {
            fields[name] = .milliseconds(end > start ? end - start : 0)
        }
        fields["blackout_ms"] = blackout.map { .milliseconds($0) }
        return fields
    }
}

extension LiveUpdateError {
    /// Whether a limit of luod, of a user or of the machine was reached.
    var isLimit: Bool {
        [.tooManyOpenFiles, .tooManyOpenFilesInSystem, .tooManyUsers, .noSpace, .noMemory, .diskQuotaExceeded]
            .contains(errno)
    }
}

extension Log {
    /// Writes a line when a request of a client failed because of a limit.
    func say(limit error: LiveUpdateError, of client: ClientID) {
        if error.isLimit { say("limit reached: \(LuoctlRemedies.adapted(error))", .warning, client.fields) }
    }
}

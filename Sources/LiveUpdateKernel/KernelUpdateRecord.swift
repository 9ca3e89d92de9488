// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform

/// The record of a kernel update, which `luoctl kexec` leaves in luod's state directory just before the next kernel
/// starts. ``KernelUpdateReport`` completes it under the next kernel.
package struct KernelUpdateRecord: Codable, Equatable, Sendable {
    /// A time, for people and for calculations.
    package struct Moment: Codable, Equatable, Sendable {
        /// ISO 8601 in UTC, with milliseconds.
        package let time: String
        /// Nanoseconds of CLOCK_REALTIME.
        package let nanoseconds: Int64

        /// A time in nanoseconds of CLOCK_REALTIME.
        package init(nanoseconds: Int64) {
            time = wallClockText(nanoseconds)
            self.nanoseconds = nanoseconds
        }

        /// The time at which this is read.
        package static var now: Moment { Moment(nanoseconds: wallClockNanoseconds()) }
    }

    /// A file of a session, and its carrier.
    package struct File: Codable, Equatable, Sendable {
        package let user: UInt32
        package let session: String
        package let token: String
        package let handler: String
        /// The size in bytes; nil for a file that is lost, or has none.
        package let size: UInt64?
        /// DAX, LUO or none.
        package let carrier: String
        /// The memory that the carrier takes for holes, in bytes.
        package let memory: UInt64

        package init(_ file: CarriedFile) {
            user = file.user
            session = file.session
            token = file.token
            handler = file.handler
            size = file.size
            carrier = file.carrier.name
            memory = file.carrier.filled
        }
    }

    /// A problem of the preflight.
    package struct Problem: Codable, Equatable, Sendable {
        package let kind: String
        package let subject: String
        package let reason: String
        package let remedy: String

        package init(_ problem: KexecProblem) {
            kind = problem.kind.rawValue
            subject = problem.subject
            reason = problem.reason
            remedy = problem.remedy
        }
    }

    /// The times of the old kernel.
    package struct Times: Codable, Equatable, Sendable {
        /// luod was asked to freeze and publish everything; nil when luod did that in its stop.
        package var freezeBegan: Moment?
        /// luod had published everything; nil when luod did that in its stop.
        package var published: Moment?
        /// The next kernel was started, or systemd was asked for it.
        package var kernelEnded: Moment

        package init(freezeBegan: Moment?, published: Moment?, kernelEnded: Moment) {
            self.freezeBegan = freezeBegan
            self.published = published
            self.kernelEnded = kernelEnded
        }
    }

    /// The version of the format.
    package static let currentVersion = 1

    package let version: Int
    /// The release of the old kernel.
    package let release: String
    /// The boot ID of the old kernel.
    package let bootId: String
    package let times: Times
    package let files: [File]
    /// The problems that were accepted.
    package let accepted: [Problem]

    package init(release: String, bootId: String, times: Times, files: [CarriedFile], accepted: [KexecProblem]) {
        version = Self.currentVersion
        self.release = release
        self.bootId = bootId
        self.times = times
        self.files = files.map { File($0) }
        self.accepted = accepted.map { Problem($0) }
    }
}

extension CarriedFile.Carrier {
    /// The name of the carrier, for people and in JSON.
    package var name: String {
        switch self {
        case .dax: "DAX"
        case .liveUpdate: "LUO"
        case .none: "none"
        }
    }

    /// The memory that the carrier takes for the holes of the file, in bytes.
    package var filled: UInt64 { if case .liveUpdate(let bytes) = self { bytes } else { 0 } }
}

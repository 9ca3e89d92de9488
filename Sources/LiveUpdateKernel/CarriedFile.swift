// SPDX-License-Identifier: Apache-2.0
package import LiveUpdatePlatform

/// A file of a session, with the way in which it reaches the next kernel.
package struct CarriedFile: Equatable, Sendable {
    /// The carrier of a file, when the kernel is replaced.
    package enum Carrier: Equatable, Sendable {
        /// The file is on a DAX region, and the next luod finds it there again.
        case dax
        /// The kernel's Live Update Orchestrator. It fills the holes of the file with this many bytes of memory.
        case liveUpdate(filling: UInt64)
        /// No carrier takes the file, for this reason. The remedy says how its content could go.
        case none(reason: String, remedy: String)
    }

    /// The user of the session.
    package let user: UInt32
    /// The name of the session.
    package let session: String
    /// The token, as text.
    package let token: String
    /// The compatible string of the file's handler.
    package let handler: String
    /// The size, in bytes; nil for a lost file, and for a file without a size.
    package let size: UInt64?
    /// The identity, by which a file in several sessions is recognized; nil when luod does not say.
    package let identity: FileIdentity?
    /// The carrier.
    package let carrier: Carrier

    /// Describes a file.
    package init(
        user: UInt32, session: String, token: String, handler: String, size: UInt64?, identity: FileIdentity? = nil,
        carrier: Carrier
    ) {
        self.user = user
        self.session = session
        self.token = token
        self.handler = handler
        self.size = size
        self.identity = identity
        self.carrier = carrier
    }

    /// The file in the words of luod's messages.
    package var subject: String { "user \(user), session \"\(session)\", token \(token)" }
}

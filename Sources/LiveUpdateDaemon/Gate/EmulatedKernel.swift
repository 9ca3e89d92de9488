// SPDX-License-Identifier: Apache-2.0
import LiveUpdateProtocol

/// An older kernel to test against: it takes no files on huge pages, and has none of luod's own calls.
package enum EmulatedKernel: String, Sendable {
    /// Linux 7.0: at most 819 sessions and 128 files in each; no GET_NAME.
    case linux70 = "7.0"
    /// Like 7.0 without those limits, and with GET_NAME.
    case linux72 = "7.2"
    /// Like 7.2, with the same calls.
    case linux73 = "7.3"

    /// Whether this kernel has a call.
    func has(_ call: Call) -> Bool {
        switch call {
        case .createSession, .retrieveSession, .preserve, .retrieve, .finish: true
        case .getName: self != .linux70
        default: false
        }
    }

    /// The most outgoing sessions; nil: no limit. Beyond it: ENOMEM.
    var mostSessions: Int? { self == .linux70 ? 819 : nil }

    /// The most files in a session; nil: no limit. Beyond it: ENOSPC.
    var mostFiles: Int? { self == .linux70 ? 128 : nil }
}

import LiveUpdateProtocol

/// An older kernel to test against: it takes no files on huge pages, and none of luod's own
/// calls.
public enum EmulatedKernel: String, Sendable {
    /// At most 819 sessions and 128 files in each; no GET_NAME.
    case linux70 = "7.0"
    /// The same without those limits, and with GET_NAME.
    case linux72 = "7.2"
    /// As 7.2: its calls are the same.
    case linux73 = "7.3"

    /// Whether it has a call.
    func has(_ call: Call) -> Bool {
        switch call {
        case .createSession, .retrieveSession, .preserve, .retrieve, .finish: true
        case .getName: self != .linux70
        default: false
        }
    }

    /// How many outgoing sessions there may be: beyond it ENOMEM.
    var mostSessions: Int? { self == .linux70 ? 819 : nil }

    /// How many files a session may have: beyond it ENOSPC.
    var mostFiles: Int? { self == .linux70 ? 128 : nil }
}

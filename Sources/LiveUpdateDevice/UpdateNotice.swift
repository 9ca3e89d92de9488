// SPDX-License-Identifier: Apache-2.0
import LiveUpdateProtocol

/// A notice of luod for a session that has subscribed: see ``DeviceSession/subscribe(_:)``.
public enum UpdateNotice: Equatable, Sendable {
    /// An update waits until the client has stopped changing its files, and has called ``DeviceSession/ready(to:)``.
    case freezeSoon(UpdateQuestion)
    /// The update is over, and the client may go on. If `isNextBoot` is true, the update was made: this session's boot
    /// has ended, and the client retrieves the session from luod and subscribes again. Otherwise the update was called
    /// off, and the session is as before. This notice may come twice.
    case over(isNextBoot: Bool)

    /// The meaning of a message; nil for a kind that this version does not know.
    init?(_ notice: Notice) {
        switch notice.kind {
        case .freezeSoon:
            self = .freezeSoon(
                UpdateQuestion(number: notice.question, timeLeft: .milliseconds(Int64(clamping: notice.value))))
        case .over: self = .over(isNextBoot: notice.value != 0)
        case nil: return nil
        }
    }
}

/// A question of luod, which a client answers with ``DeviceSession/ready(to:)``.
public struct UpdateQuestion: Equatable, Sendable {
    /// The number of the question. Each question has another number.
    public let number: UInt64
    /// The time for which luod still waits, counted from the notice.
    public let timeLeft: Duration
}

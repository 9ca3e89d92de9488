import LiveUpdate
import LiveUpdateProtocol
import Platform
import SystemPackage

/// A server without the state, which it cannot read: luod holds descriptors, and goes on holding them.
///
/// 1. The connections that were there are not read, so that no committed answer is contradicted.
/// 2. New clients get EIO and the reason. Root can look (STATUS), have an image take over that can read the state
///    (RELOAD), and end luod (STOP).
/// 3. If the reason is a shortage, this process ends after a while, and the next one tries again.
extension Server {
    /// How long a refusal lasts if its reason may pass, in milliseconds.
    static let refusalUntilRetry: UInt64 = 10_000

    /// Ends this process when it is time to try again.
    func endRefusalIfDue() {
        guard let refusal, refusal.isOver(at: milliseconds()), !updates.isUnderWay else { return }
        exitNow(StartFailure.Cause.unavailable.rawValue)
    }

    /// A request while this server refuses.
    ///
    /// - Returns: nil when it is answered later.
    /// - Throws: EIO for all calls but root's STATUS, RELOAD and STOP.
    func perform(
        _ request: Request, _ client: Client, refusing refusal: Refusal
    ) throws(LiveUpdateError) -> Reply? {
        guard client.user == 0 || client.user == ownUser else { throw refusal.error }
        switch request.call {
        case .status: return try answerStatus(request, client)
        case .reload: return updates.begin(request, client)
        case .stop: return beginStop(request, client)
        default: throw refusal.error
        }
    }
}

/// Why a server refuses, and until when. It does no I/O.
struct Refusal: Equatable, Sendable {
    let failure: StartFailure
    private let end: UInt64?

    init(_ failure: StartFailure, at now: UInt64) {
        self.failure = failure
        end = failure.cause == .unavailable ? now + Server.refusalUntilRetry : nil
    }

    func isOver(at now: UInt64) -> Bool { end.map { now >= $0 } ?? false }

    var error: LiveUpdateError {
        LiveUpdateError(
            .ioError, "luod holds its files and cannot read its state: \(failure)",
            remedy: "root can have a luod take over that can read it (luoctl reload IMAGE), or end luod (luoctl stop)")
    }
}

// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import SystemPackage

/// The reason why an orchestrator refuses clients, and the end of the refusal. Such an orchestrator cannot read the
/// state, and only holds the descriptors. It does no I/O.
///
/// 1. Existing connections are not read, so that no answer contradicts a committed one.
/// 2. New clients get EIO and the reason. Root can read the status (STATUS), let an image take over that can read the
///    state (RELOAD), and end luod (STOP).
/// 3. If the reason is a shortage, the process ends after a while, and the next one tries again.
struct Refusal: Equatable, Sendable {
    /// The length of a refusal if its reason may pass, in milliseconds.
    static let patience: UInt64 = 10_000

    let failure: StartFailure
    private let end: UInt64?

    init(_ failure: StartFailure, at now: UInt64) {
        self.failure = failure
        end = failure.cause == .unavailable ? now + Self.patience : nil
    }

    func isOver(at now: UInt64) -> Bool { end.map { now >= $0 } ?? false }

    var error: LiveUpdateError {
        LiveUpdateError(
            .ioError, "luod holds its files and cannot read its state: \(failure)",
            remedy: "root can have a luod take over that can read it (luoctl reload IMAGE), or end luod (luoctl stop)")
    }
}

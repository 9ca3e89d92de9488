import Glibc
import LiveUpdate
import LiveUpdateProtocol
import Platform
import SystemPackage

/// The requests that must not be done again, because they ended orchestrators: ``RequestDeaths``. It notes each request
/// in the ``ControlMemory`` before the work begins, so that the keeper finds it there when this process dies.
final class RequestLedger {
    private let memory: ControlMemory?
    /// As the keeper had counted when this process began. It counts no more while this process lives.
    private let deaths: RequestDeaths
    private let refusesSome: Bool
    private var current: RequestKey?

    /// - Parameter memory: nil: nothing is noted.
    init(_ memory: ControlMemory?) {
        self.memory = memory
        deaths = memory?.deaths ?? RequestDeaths()
        refusesSome = deaths.hasEndedTooMany
    }

    /// Notes that a request is being done.
    func begin(_ message: [UInt8], on slot: DescriptorSlot) {
        guard let memory else { return }
        let key = RequestKey(slot: slot.number, message)
        current = key
        memory.begin(key)
        hangForTests(in: message, "luo-test-hang")
    }

    /// Notes that the request was done, or is answered later.
    func end(_ message: [UInt8]) {
        hangForTests(in: message, "luo-test-wait")
        memory?.end()
    }

    /// The answer to the request that is being done, if it has ended too many orchestrators; nil otherwise.
    var refusal: LiveUpdateError? {
        guard refusesSome, let current, let count = deaths.endedTooMany(current) else { return nil }
        return LiveUpdateError(
            .canceled, "this request was being done when \(count) orchestrators died, and is not done again",
            remedy: "the log of luod says how they died; please report that")
    }

    /// Whether a user is not served for now, because the user's requests ended too many orchestrators.
    func mustPause(_ user: SessionOwner) -> Bool {
        user != 0 && memory != nil && deaths.mustPause(user, at: milliseconds())
    }

    /// Hangs for ever in a request with a name, so that a test can end this process meanwhile: only in debug builds, and
    /// only with LUO_TEST_HANG in the environment.
    private func hangForTests(in message: [UInt8], _ name: String) {
        #if DEBUG
            guard Self.hangs, refusal == nil, message.count > 12, message[12...].starts(with: name.utf8) else { return }
            while true { sleep(1) }
        #endif
    }

    #if DEBUG
        private static let hangs = environmentVariable("LUO_TEST_HANG") != nil
    #endif
}

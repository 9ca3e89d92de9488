// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// The requests that must not be done again: requests that an earlier orchestrator has done but not answered, and
/// requests that ended orchestrators (``RequestDeaths``).
///
/// The ledger notes each request in the ``ControlMemory`` before the work begins, so that the keeper finds it there if
/// this process dies.
final class ReplyLedger {
    private let memory: ControlMemory?
    private let orchestrator: Orchestrator
    private let store: DescriptorMirror
    private let sessions: SessionTable
    private let predecessorsEnd: String
    /// The deaths that the keeper had counted when this process began. While this process lives, the keeper counts no
    /// more.
    private let deaths: RequestDeaths
    private let refusesSome: Bool
    private var current: RequestKey?
    /// The places of requests that threads do. Place 0 belongs to the loop.
    private var places: Set<Int> = []

    /// Begins a ledger in the memory that the keeper shares. Without the memory nothing is noted. `predecessorsEnd`
    /// says how the orchestrator before this one ended; it is empty when that orchestrator did not end.
    init(
        _ memory: ControlMemory?, _ orchestrator: Orchestrator, _ store: DescriptorMirror, _ sessions: SessionTable,
        predecessorsEnd: String
    ) {
        self.memory = memory
        self.orchestrator = orchestrator
        self.store = store
        self.sessions = sessions
        self.predecessorsEnd = predecessorsEnd
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

    /// Notes that the request was done, or that it is answered later.
    func end(_ message: [UInt8]) {
        hangForTests(in: message, "luo-test-wait")
        memory?.end()
    }

    /// Notes that a thread continues with the current request.
    ///
    /// - Returns: the request's place, for ``endLong(_:)``; nil when it has none.
    func beginLong() -> Int? {
        guard let memory, let current, let place = (1..<ControlMemory.places).first(where: { !places.contains($0) })
        else { return nil }
        places.insert(place)
        memory.begin(current, place: place)
        return place
    }

    /// Notes that the thread has finished the request in a place.
    func endLong(_ place: Int?) {
        guard let place else { return }
        memory?.end(place: place)
        places.remove(place)
    }

    // MARK: Requests that are not done again

    /// The reply to a request that must not be done again; nil for a request to do.
    func reply(to request: Request, on connection: Connection) -> Reply? {
        answerAgain(request, connection) ?? refusal.map { Reply($0) }
    }

    /// The answer that an earlier orchestrator has committed and may not have sent.
    private func answerAgain(_ request: Request, _ connection: Connection) -> Reply? {
        guard request.tag != 0, let answer = orchestrator.answer(on: connection.slot), answer.request.tag == request.tag
        else { return nil }
        var reply = Reply(answer.result, body: answer.result == 0 ? request.body : explained(request))
        if let unsent = sessions.takeUnsent(for: connection.slot) {
            connection.noteRepeated()
            reply.descriptor = unsent
            reply.isOwned = true
        } else if let entry = store.entry(answer.slot), entry.kind == .file {
            reply.descriptor = entry.descriptor
            reply.kept = answer.slot
        }
        return reply
    }

    /// The struct for a repeated failure. For an update or a reload it names the image that runs now, because no
    /// process knows any longer how far the request got.
    private func explained(_ request: Request) -> [UInt8] {
        guard request.call.isPrivileged else { return request.body }
        let why =
            "\(predecessorsEnd) before it could answer; \(ProgramImage.ownPath()) runs now, as process \(getpid())"
        return UpdateCall(text: why).body
    }

    /// The error for the current request if it has ended too many orchestrators; nil otherwise.
    private var refusal: LiveUpdateError? {
        guard refusesSome, let current, let count = deaths.endedTooMany(current) else { return nil }
        return LiveUpdateError(
            .canceled, "this request was being done when \(count) orchestrators died, and is not done again",
            remedy: "the log of luod says how they died; please report that")
    }

    /// Whether a user is not served for now, because the user's requests ended too many orchestrators.
    func mustPause(_ user: SessionUser) -> Bool {
        user != 0 && memory != nil && deaths.mustPause(user, at: milliseconds())
    }

    /// Hangs for ever in a request with a given name, so that a test can end this process meanwhile. Only in debug
    /// builds, and only with LUO_TEST_HANG in the environment.
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

// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// The clients that want to be asked before an update: asks them, and tells them when the update is over.
///
/// 1. A client subscribes on its session. The label of the session's descriptor has the subscription, so that it
///    survives the orchestrator.
/// 2. Before an update, each subscriber gets the notice *freeze soon*. The label notes first that the client was asked.
///    The ``UpdateBarrier`` decides how long the update waits for READY.
/// 3. After the update, each client that was asked gets the notice *over*. This orchestrator sends it if the update
///    failed, and otherwise the next one, which finds the labels. If an orchestrator dies in between, a client may get
///    *over* twice.
///
/// No client can block the orchestrator. *Freeze soon* is sent only to a client that has read all earlier messages, so
/// a socket has at most one unread notice of each kind. If a notice cannot be sent, the orchestrator tries again after
/// a pause.
final class Subscribers {
    private let connections: ConnectionTable
    private let orchestrator: Orchestrator
    /// The open question, and the connection of each subscriber that it asks.
    private var barrier: UpdateBarrier?
    private var asked: [DescriptorSlot: Connection] = [:]
    /// The clients that must be told that an update is over.
    private var toTell: [Connection] = []
    /// The count of lost subscribers when the barrier last learned of them.
    private var knownLosses: UInt64 = 0
    /// The earliest time of the next attempt to send notices, in nanoseconds.
    private var nextTry: UInt64 = 0
    /// The boot of this orchestrator. It is read only once, because reading it takes as long as a status.
    private lazy var boot = (try? orchestrator.boot) ?? 0

    init(_ connections: ConnectionTable, _ orchestrator: Orchestrator) {
        self.connections = connections
        self.orchestrator = orchestrator
    }

    // MARK: Calls

    /// Begins or ends the subscription of a session's client.
    ///
    /// - Throws: EINVAL for a number other than 0 and 1.
    func subscribe(_ request: Request, _ connection: Connection) throws(LiveUpdateError) -> Reply {
        let word = WordCall(body: request.body).word
        guard word <= 1 else {
            throw LiveUpdateError(
                .invalidArgument, "SUBSCRIBE takes 0 or 1, and not \(word)",
                remedy: "use 1 to subscribe, and 0 to end the subscription")
        }
        var label = connection.label
        if word == 1 { label.traits.insert(.isSubscribed) } else { label.endSubscription() }
        connections.relabel(connection, label)
        if word == 0 { forget(connection) }
        return Reply(0, body: request.answerBody)
    }

    /// Notes that a subscriber is ready.
    ///
    /// - Throws: EINVAL for a reserved field that is not 0; ESTALE when the client was not asked this question, or when
    ///   the update does not wait for its answer any longer.
    func ready(_ request: Request, _ connection: Connection) throws(LiveUpdateError) -> Reply {
        let call = ReadyCall(body: request.body)
        guard call.reserved == 0 else {
            throw LiveUpdateError(.invalidArgument, "the reserved field of READY is not 0", remedy: "set it to 0")
        }
        guard barrier?.noteReady(connection.slot, to: call.question) == true else {
            throw LiveUpdateError(
                .staleNFSFileHandle, "no update waits for the answer to question \(call.question)",
                remedy: "wait for the notice that the update is over, and go on")
        }
        return Reply(0, body: request.answerBody)
    }

    private func forget(_ connection: Connection) {
        barrier?.noteGone(connection.slot)
        asked[connection.slot] = nil
        toTell.removeAll { $0 === connection }
    }

    // MARK: Asking

    /// Begins to ask all subscribers.
    ///
    /// - Parameter patience: the longest wait for them, in nanoseconds.
    /// - Returns: false when there are none.
    func ask(patience: UInt64) -> Bool {
        let subscribers = connections.all.filter(\.isSubscriber)
        guard !subscribers.isEmpty else { return false }
        let now = monotonicNanoseconds()
        asked = Dictionary(subscribers.map { ($0.slot, $0) }) { first, _ in first }
        barrier = UpdateBarrier(
            question: now, deadline: now + patience,
            subscribers: asked.keys.sorted { $0.number < $1.number })
        knownLosses = connections.lostSubscribers
        nextTry = 0
        return true
    }

    /// Whether subscribers are asked now, and their answers count.
    var isAsking: Bool { barrier.map { !$0.isOpen } ?? false }

    /// Sends some of the notices that are due.
    func tellSome() {
        guard isAsking || !toTell.isEmpty else { return }
        noteLosses()
        let now = monotonicNanoseconds()
        guard now >= nextTry else { return }
        let isAnyLeft = tellSomeOver() || tellSomeFreezeSoon(now)
        nextTry = isAnyLeft ? 0 : now + Self.pause
    }

    /// Whether the update may go on: all subscribers are ready, or the time has ended.
    func mayGoOn() -> Bool { barrier?.opens(at: monotonicNanoseconds()) ?? false }

    /// A line for each subscriber that is not ready.
    var notReady: [String] { (barrier?.notReady ?? []).compactMap { asked[$0]?.subscriberLine } }

    /// The time until the next attempt or the deadline, in milliseconds; nil when nothing is due.
    var wait: CInt? {
        guard !toTell.isEmpty || isAsking else { return nil }
        let now = monotonicNanoseconds()
        var due = isAsking ? barrier?.deadline ?? .max : .max
        if !toTell.isEmpty || barrier?.hasUntold == true { due = min(due, nextTry) }
        return due > now ? CInt(clamping: (due - now) / 1_000_000 + 1) : 0
    }

    /// The most notices in one turn of the loop. Each notice costs some system calls, and a message to the keeper.
    private static let most = 32
    /// The pause before another attempt to send notices, in nanoseconds.
    private static let pause: UInt64 = 20_000_000

    /// Removes subscribers whose session has ended from the barrier.
    private func noteLosses() {
        guard isAsking, connections.lostSubscribers != knownLosses else { return }
        knownLosses = connections.lostSubscribers
        for (slot, connection) in asked where !(connections.contains(connection) && connection.isSubscriber) {
            barrier?.noteGone(slot)
        }
    }

    /// - Returns: whether more can be told at once.
    private func tellSomeFreezeSoon(_ now: UInt64) -> Bool {
        guard isAsking, let question = barrier?.question, let deadline = barrier?.deadline else { return false }
        let notice = Notice(
            .freezeSoon, question: question, value: (deadline - min(now, deadline)) / 1_000_000)
        let some = barrier?.takeUntold(atMost: Self.most) ?? []
        var failures = 0
        for slot in some {
            if let connection = asked[slot], tellFreezeSoon(notice, connection) {
                barrier?.noteTold(slot)
            } else {
                barrier?.noteUntold(slot)
                failures += 1
            }
        }
        return some.count == Self.most && failures == 0
    }

    private func tellFreezeSoon(_ notice: Notice, _ connection: Connection) -> Bool {
        guard connections.contains(connection), !connection.wasAsked, connection.unsent == nil,
            !connection.descriptor.hasUnreadByPeer
        else { return false }
        var label = connection.label
        label.boot = boot
        label.traits.insert(.wasAsked)
        // If this process dies after the notice, the next orchestrator must know that the client was asked.
        connections.relabel(connection, label)
        if (try? connection.descriptor.send(notice.bytes)) != nil { return true }
        endAsked(connection)
        return false
    }

    // MARK: The end of the update

    /// Ends the question. The clients that were asked are told in the next turns of the loop.
    func end() {
        toTell += asked.values.filter(\.wasAsked)
        barrier = nil
        asked = [:]
        nextTry = 0
    }

    /// Finds the clients that an earlier orchestrator has asked, to tell them that the update is over.
    func resume() { toTell = connections.all.filter(\.wasAsked) }

    /// - Returns: whether more can be told at once.
    private func tellSomeOver() -> Bool {
        let some = toTell.prefix(Self.most)
        guard !some.isEmpty else { return false }
        toTell.removeFirst(some.count)
        let failed = some.filter { !tellOver($0) }
        toTell += failed
        return failed.isEmpty && !toTell.isEmpty
    }

    /// - Returns: false when the notice must be sent later.
    private func tellOver(_ connection: Connection) -> Bool {
        guard connections.contains(connection), connection.wasAsked else { return true }
        let isNextBoot = connection.label.boot != boot
        do throws(SystemCallError) {
            try connection.descriptor.send(Notice(.over, value: isNextBoot ? 1 : 0).bytes)
        } catch {
            // All other errors say that the client has gone.
            guard error.errno != .resourceTemporarilyUnavailable, !error.isShortage else { return false }
        }
        endAsked(connection)
        return true
    }

    private func endAsked(_ connection: Connection) {
        var label = connection.label
        label.endAsked()
        connections.relabel(connection, label)
    }
}

extension DescriptorLabel {
    fileprivate mutating func endAsked() {
        traits.remove(.wasAsked)
        boot = 0
    }

    fileprivate mutating func endSubscription() {
        endAsked()
        traits.remove(.isSubscribed)
    }
}

extension Connection {
    /// Whether the client is asked before an update. The subscription ends with the session.
    var isSubscriber: Bool { session != nil && label.traits.contains(.isSubscribed) }

    fileprivate var wasAsked: Bool { label.traits.contains(.wasAsked) }

    /// The words for a subscriber that is not ready.
    fileprivate var subscriberLine: String {
        let process = clientID.process == 0 ? "" : ", process \(clientID.process)"
        return "user \(user)\(session.map { ", session \"\($0.name)\"" } ?? "")\(process): not ready"
    }
}

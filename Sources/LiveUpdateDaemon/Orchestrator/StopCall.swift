// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateProtocol
import SystemPackage

/// STOP: ends luod. If something would be lost, the client must allow that with the flag `discard`.
final class StopCall {
    private let store: DescriptorMirror
    private let losses: LossReporter
    private let refusal: Refusal?
    private let updates: UpdateRunner
    private let kernelUpdate: KernelUpdateCall
    private let replies: ReplySender
    private let keeper: KeeperLink
    private let log: Log

    init(
        _ store: DescriptorMirror, _ losses: LossReporter, _ refusal: Refusal?, _ updates: UpdateRunner,
        _ kernelUpdate: KernelUpdateCall, _ replies: ReplySender, _ keeper: KeeperLink, _ log: Log
    ) {
        self.store = store
        self.losses = losses
        self.refusal = refusal
        self.updates = updates
        self.kernelUpdate = kernelUpdate
        self.replies = replies
        self.keeper = keeper
        self.log = log
    }

    /// Answers the request, and then tells the keeper to end luod.
    ///
    /// - Returns: a refusal; nil when the answer was sent.
    func perform(_ request: Request, _ client: Client) -> Reply? {
        let report = losses.endReport()
        let lines = refusal.map { [endOfUnknown($0)] } ?? report.lines
        let remedy = "\nremedy: end them first, or lose them (luoctl stop --discard)"
        let text = UpdateCost.text(lines, room: UpdateCost.room - remedy.utf8.count)
        guard !updates.isUnderWay else {
            return refuse("an update is under way\nremedy: stop luod when the update has ended", .resourceBusy)
        }
        guard !report.losesSomething && refusal == nil || UpdateCall(request.body).flags & UpdateCall.discard != 0
        else {
            return refuse(text + remedy, .resourceBusy)
        }
        var reply = Reply(0, body: UpdateCall(text: text).body)
        reply.response.tag = request.tag
        replies.send(reply, to: client.connection)
        // The keeper ends luod at once, without asking for the log first.
        if !kernelUpdate.end() { losses.logEnd() }
        // Without a keeper, no process would start another orchestrator.
        guard keeper.isThere else { exitNow(0) }
        do {
            try keeper.send(.stop)
        } catch {
            log.say("luod cannot stop, because its keeper does not read: \(error)")
        }
        return nil
    }

    /// The text about the end of descriptors that luod cannot name, because it cannot read the state.
    private func endOfUnknown(_ refusal: Refusal) -> String {
        let (files, sessions) = (store.slots(.file).count, store.slots(.session).count)
        return
            "\(files) descriptors of files and \(sessions) open sessions end with luod, and their names are not known: "
            + "\(refusal.failure)"
    }

    private func refuse(_ why: String, _ errno: Errno) -> Reply {
        Reply(-errno.rawValue, body: UpdateCall(text: why).body)
    }
}

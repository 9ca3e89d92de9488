// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
package import SystemPackage

/// The time that a client waits for an answer before it checks whether luod answers at all.
///
/// 1. A request waits for its answer for the timeout.
/// 2. Then the client sends PING on a second connection, and waits as long again. If luod answers, the request just
///    takes long, and the client continues to wait.
/// 3. If luod does not answer, the request fails with ETIMEDOUT, and the error names the processes of luod. The request
///    is in luod's queue, and may still be done.
package final class AnswerPatience: Sendable {
    private let state: String
    private let seconds: UInt16
    private let lapsed = Guarded(false)
    private let mayOpenFiles = Guarded(true)

    /// - Parameters:
    ///   - state: the state directory of luod; nil for `LUO_STATE` in the environment, or /run/luo.
    ///   - seconds: the timeout, more than 0.
    package init(state: FilePath?, seconds: UInt16) {
        self.state = LiveUpdateDevice.state(state).string
        self.seconds = seconds
    }

    /// Whether luod has failed to answer.
    package var hasLapsed: Bool { lapsed.with { $0 } }

    /// Opens no file from now on, and therefore names no processes in the error. Under the filter of `luoctl run`, an
    /// open waits for luod.
    package func openNothing() { mayOpenFiles.with { $0 = false } }

    var milliseconds: CInt { CInt(seconds) * 1000 }

    /// Waits for an event on a socket of luod.
    ///
    /// - Throws: ETIMEDOUT when luod does not answer.
    func wait(for awaited: ProtocolClient.Awaited, on socket: FileDescriptor) throws(SystemCallError) {
        while !socket.wait(for: awaited, within: milliseconds) {
            guard isAnswering else {
                lapse()
                throw SystemCallError("poll", .timedOut)
            }
        }
    }

    /// Notes that luod does not answer.
    func lapse() { lapsed.with { $0 = true } }

    /// Whether luod answers on a connection of its own.
    private var isAnswering: Bool {
        guard let own = try? LuodSocket.connect(to: state, within: milliseconds) else {
            return false
        }
        let client = ProtocolClient(own.borrowed)
        let ping = Request(.ping, body: WordCall().body, tag: .random(in: 1 ... .max))
        do throws(SystemCallError) {
            let answer = try client.answer(to: ping) { awaited throws(SystemCallError) in
                guard own.borrowed.wait(for: awaited, within: milliseconds) else {
                    throw SystemCallError("poll", .timedOut)
                }
            }
            answer.close()
            return true
        } catch {
            // A refused or closed connection is an answer, too.
            return error.errno != .timedOut
        }
    }

    /// The error of a request without an answer.
    func error(_ subject: String) -> LiveUpdateError {
        let seen = processes
        let stopped = seen.filter(\.isStopped)
        let named = (stopped.isEmpty ? seen : stopped).map { "\(role(of: $0, seen)) (process \($0.id))" }
        let who =
            named.isEmpty
            ? "luod on \(state) does not answer" : "luod does not answer: \(named.joined(separator: ", "))"
        let number = stopped.first.map { "\($0.id)" }
        return LiveUpdateError(
            .timedOut,
            "\(subject): \(who)\(stopped.isEmpty ? "" : stopped.count == 1 ? " is stopped" : " are stopped")"
                + "; no answer came within \(seconds) s, and none to a ping; the request may still be done",
            remedy: number.map { "let it continue (kill -CONT \($0)), or end it (kill -KILL \($0))" }
                ?? "look into luod's log; wait longer with luoctl --timeout")
    }

    /// The processes of luod that this process can see: the processes that have the arena open, or else the listening
    /// process and its children.
    private var processes: [SeenProcess] {
        guard mayOpenFiles.with({ $0 }) else { return [] }
        let own = SeenProcess.all(withOpen: "\(absolutePath(state))/arena").filter {
            $0.arguments.first?.contains("luod") == true
        }
        if !own.isEmpty { return own }
        guard let socket = try? LuodSocket.connect(to: state, within: milliseconds),
            let listening = try? socket.borrowed.peer().process, listening > 1
        else { return [] }
        return SeenProcess.family(of: listening)
    }

    private func role(of process: SeenProcess, _ all: [SeenProcess]) -> String {
        switch process.arguments.dropFirst().first {
        case "gate": "the gate"
        case "orchestrator": "the orchestrator"
        default: all.contains { $0.parent == process.id } ? "the keeper" : "luod"
        }
    }
}

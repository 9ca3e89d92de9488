// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// A request inside a callback or a getter's closure could wait for itself, and gets EDEADLK. Only getters are allowed.
@Suite struct DeadlockTests {
    /// Makes requests on an orchestrator and a session from callbacks, and records the answers.
    private final class Caller: Sendable {
        private struct State: Sendable {
            var boot = Orchestrator.disabled
            var session: Session?
            var answers: [String: Errno?] = [:]
        }
        private let state = Guarded(State())

        func aim(_ boot: Orchestrator, _ session: Session?) {
            state.with { ($0.boot, $0.session) = (boot, session) }
        }

        /// Makes requests inside a callback.
        func ask(_ callback: String) {
            let (boot, session) = state.with { ($0.boot, $0.session) }
            let answer = errno { try boot.createSession("inside \(callback)") }
            let second = session.map { session in errno { try session.close() } } ?? answer
            state.with { $0.answers[callback] = answer == second ? answer : nil }
        }

        var answers: [String: Errno?] { state.with { $0.answers } }
    }

    private func handler(_ caller: Caller) -> TestHandler {
        TestHandler { hooks in
            hooks.accepts = { _ in
                caller.ask("canPreserve")
                return true
            }
            hooks.preserve = { file throws(LiveUpdateError) in
                caller.ask("preserve")
                return file.token
            }
            hooks.unpreserve = { _ in caller.ask("unpreserve") }
            hooks.freeze = { file throws(LiveUpdateError) in
                caller.ask("freeze")
                return file.data
            }
            hooks.unfreeze = { _ in caller.ask("unfreeze") }
            hooks.retrieve = { _ throws(LiveUpdateError) in
                caller.ask("retrieve")
                return .kept
            }
            hooks.canFinish = { _ in
                caller.ask("canFinish")
                return true
            }
            hooks.finish = { _ in caller.ask("finish") }
        }
    }

    private func flb(_ caller: Caller) -> TestFLB {
        TestFLB { hooks in
            hooks.preserve = { _ throws(LiveUpdateError) in
                caller.ask("FLB preserve")
                return 1
            }
            hooks.unpreserve = { _ in caller.ask("FLB unpreserve") }
            hooks.retrieve = { _ throws(LiveUpdateError) in caller.ask("FLB retrieve") }
            hooks.finish = { _ in caller.ask("FLB finish") }
            hooks.serialize = { context throws(LiveUpdateError) in
                caller.ask("FLB serialize")
                return context.data
            }
        }
    }

    @Test func requestsInsideEveryCallback() throws {
        let machine = try Machine()
        let caller = Caller()
        // The orchestrator refers to its handlers, and they to the caller. The caller must not refer to the
        // orchestrator.
        defer { caller.aim(.disabled, nil) }
        let (handler, flb) = (handler(caller), flb(caller))
        let boot = try machine.boot(.nextBoot, handler, flb)
        let file = try MemoryFile()
        let aborted = try boot.createSession("aborted")
        caller.aim(boot, aborted)
        try aborted.preserve(file.descriptor, token: 1)
        caller.aim(boot, nil)
        try aborted.close()
        let session = try boot.createSession("s")
        caller.aim(boot, session)
        try session.preserve(file.descriptor, token: 1)
        try boot.publish()
        try boot.thaw()
        try boot.publish()

        let next = try machine.boot(.nextBoot, handler, flb)
        let came = try next.retrieveSession("s")
        caller.aim(next, came)
        _ = try came.retrieve(token: 1)
        try came.finish()

        let callbacks = [
            "canPreserve", "preserve", "unpreserve", "freeze", "unfreeze", "retrieve", "canFinish", "finish",
            "FLB preserve", "FLB unpreserve", "FLB retrieve", "FLB finish", "FLB serialize",
        ]
        #expect(Set(caller.answers.keys) == Set(callbacks))
        for (callback, answer) in caller.answers { #expect(answer == .deadlock, "\(callback)") }
        #expect(try next.status().sessions.map(\.name) == ["s"], "nothing was made")
    }

    /// Makes each kind of request.
    private func requests(_ boot: Orchestrator, _ session: Session, _ handler: TestHandler, _ flb: TestFLB) -> [Errno?]
    {
        [
            errno { try boot.createSession("x") }, errno { try boot.retrieveSession("x") },
            errno { try boot.publish() }, errno { try boot.thaw() }, errno { try boot.finishDiscarded() },
            errno { try boot.register(TestHandler("other")) }, errno { try boot.unregister(handler) },
            errno { try boot.register(TestFLB("other"), on: handler) },
            errno { try boot.unregister(flb, from: handler) },
            errno { try session.preserve(FileDescriptor(rawValue: 0), token: 8) },
            errno { try session.retrieve(token: 1) }, errno { try session.finish() }, errno { try session.close() },
        ]
    }

    @Test func everyRequestInsideAGettersClosure() throws {
        let machine = try Machine()
        let (handler, flb) = (TestHandler(), TestFLB())
        let boot = try machine.boot(.nextBoot, handler, flb)
        let file = try MemoryFile()
        let session = try boot.createSession("s")
        let empty = try boot.withOutgoing(flb) { object throws(LiveUpdateError) in
            #expect(object == nil)
            return requests(boot, session, handler, flb)
        }
        try session.preserve(file.descriptor, token: 1)
        let lent = try boot.withOutgoing(flb) { object throws(LiveUpdateError) in
            #expect(object == 42)
            return requests(boot, session, handler, flb)
        }
        try boot.publish()
        let next = try machine.boot(.nextBoot, handler, flb)
        let came = try next.retrieveSession("s")
        let incoming = try next.withIncoming(flb) { _ throws(LiveUpdateError) in requests(next, came, handler, flb) }
        for answers in [empty, lent, incoming] {
            #expect(answers == [Errno?](repeating: .deadlock, count: answers.count))
        }
        try came.finish()
    }

    @Test func gettersInsideAGettersClosureWork() throws {
        let (first, second) = (TestFLB("first"), TestFLB("second"))
        let boot = try Machine().boot(.nextBoot, TestHandler(), first, second)
        let file = try MemoryFile()
        try boot.createSession("s").preserve(file.descriptor, token: 1)
        let sum = try boot.withOutgoing(first) { one throws(LiveUpdateError) in
            try boot.withOutgoing(second) { two throws(LiveUpdateError) in
                try boot.withOutgoing(first) { again throws(LiveUpdateError) in (one ?? 0) + (two ?? 0) + (again ?? 0) }
            }
        }
        #expect(sum == 126)
        #expect(errno { try boot.createSession("afterwards") } == nil, "the loans have ended")
    }
}

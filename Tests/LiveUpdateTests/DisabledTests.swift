// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import SystemPackage
import TestSupport
import Testing

/// With live update switched off, each call and each property says so.
@Suite struct DisabledTests {
    @Test func everyCall() throws {
        let off = Orchestrator.disabled
        let handler = TestHandler()
        let flb = TestFLB()
        #expect(!off.isEnabled)
        let answers = [
            errno { try off.register(handler) }, errno { try off.unregister(handler) },
            errno { try off.register(flb, on: handler) }, errno { try off.unregister(flb, from: handler) },
            errno { try off.registrations() }, errno { try off.open() }, errno { try off.createSession("s") },
            errno { try off.createSession("") }, errno { try off.retrieveSession("s") }, errno { try off.openSessions },
            errno { try off.flbs }, errno { try off.withIncoming(flb) { _ in } },
            errno { try off.withOutgoing(flb) { _ in } }, errno { try off.finishDiscarded() },
            errno { try off.publish() }, errno { try off.thaw() }, errno { try off.status() },
        ]
        #expect(answers == [Errno?](repeating: Errno(rawValue: 95), count: answers.count), "EOPNOTSUPP")
    }

    @Test func aRealOneIsEnabled() throws { #expect(try Machine().boot().isEnabled) }
}

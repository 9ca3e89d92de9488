// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// A boot has ended after publish: each call gives ENODEV before all other checks, until the boot thaws.
@Suite struct EndedBootTests {
    private let machine: Machine
    private let handler = TestHandler()
    private let flb = TestFLB()
    private let file: MemoryFile
    private let boot: Orchestrator
    private let outgoing: Session
    private let incoming: Session

    init() throws {
        machine = try Machine()
        file = try MemoryFile()
        let first = try machine.boot(.nextBoot, handler, flb)
        let other = try MemoryFile()
        try first.createSession("came").preserve(other.descriptor, token: 1)
        try first.publish()
        boot = try machine.boot(.nextBoot, handler, flb)
        outgoing = try boot.createSession("goes")
        try outgoing.preserve(file.descriptor, token: 1)
        incoming = try boot.retrieveSession("came")
        try boot.publish(discardingUnfinished: true)
        handler.clear()
    }

    @Test func everyCallIsENODEV() {
        let bad = FileDescriptor(rawValue: -1)
        let answers = [
            errno { try boot.open() }, errno { try boot.createSession("") }, errno { try boot.createSession("goes") },
            errno { try boot.retrieveSession("nobody") }, errno { try boot.openSessions }, errno { try boot.status() },
            errno { try boot.publish() }, errno { try boot.finishDiscarded() },
            errno { try boot.withIncoming(flb) { _ in } }, errno { try boot.withOutgoing(flb) { _ in } },
            errno { try boot.register(TestHandler("")) }, errno { try boot.unregister(TestHandler("unknown")) },
            errno { try boot.register(flb, on: handler) }, errno { try boot.unregister(TestFLB("x"), from: handler) },
            errno { try incoming.preserve(bad, token: 1) }, errno { try outgoing.preserve(bad, token: 1) },
            errno { try outgoing.retrieve(token: 1) }, errno { try incoming.retrieve(token: 99) },
            errno { try incoming.get(token: 99) }, errno { try outgoing.get(token: 1) },
            errno { try incoming.unpreserve(token: 99) }, errno { try outgoing.unpreserve(token: 1) },
            errno { try outgoing.finish() }, errno { try incoming.finish() }, errno { try outgoing.close() },
            errno { try incoming.close() },
        ]
        #expect(answers == [Errno?](repeating: .operationNotSupportedByDevice, count: answers.count))
        #expect(handler.calls == [], "and nothing is called")
    }

    @Test func thawTakesItBack() throws {
        let published = try machine.file.bytes()
        try boot.thaw()
        #expect(handler.calls == ["unfreeze 1"])
        #expect(try machine.file.bytes() != published)
        #expect(try machine.openArena().outgoingTree == nil)
        #expect(try boot.status().sessions.map(\.name) == ["came", "goes"])
        #expect(errno { try outgoing.preserve(file.descriptor, token: 1) } == .fileExists)
        try incoming.finish()
        #expect(errno { try boot.thaw() } == .invalidArgument, "nothing is published any more")
        try boot.publish()
        let next = try machine.boot(.nextBoot, handler, flb)
        #expect(try next.retrieveSession("goes").tokens == [1])
    }

    @Test("A getter that began before the end is waited for, and an ended boot writes nothing")
    func getters() throws {
        try boot.thaw()
        let isSerializing = Guarded(false)
        flb.change { hooks in
            // This takes so long that the other thread waits for the monitor.
            hooks.serialize = { context throws(LiveUpdateError) in
                isSerializing.with { $0 = true }
                sleep(milliseconds: 30)
                return context.data
            }
            hooks.retrieve = { _ throws(LiveUpdateError) in sleep(milliseconds: 50) }
        }
        let answer = Guarded<Errno?>(nil)
        let getter = Threads.start { [boot, flb] in
            while !isSerializing.with({ $0 }) { sleep(milliseconds: 1) }
            let error = errno { try boot.withIncoming(flb) { _ in } }
            answer.with { $0 = error }
        }
        try boot.publish(discardingUnfinished: true)
        let bytes = try machine.file.bytes()
        getter.join()
        #expect(try machine.file.bytes() == bytes)
        #expect([nil, .operationNotSupportedByDevice].contains(answer.with { $0 }))
    }

    @Test func thawOfABootThatGoesOnIsRefused() throws {
        #expect(errno { try Machine().boot().thaw() } == .invalidArgument)
    }

    @Test func aBootThatPublishedAndDiedGoesOnInTheSameBoot() throws {
        let again = try machine.boot(.sameBoot, handler, flb)
        #expect(handler.calls == ["unfreeze 1"])
        #expect(try again.openSessions.map(\.name) == ["came", "goes"])
        #expect(try again.status().updateNumber == 1)
    }

    @Test func aFailedFreezeIsUndoneAndCanBeTriedAgain() throws {
        try boot.thaw()
        handler.clear()
        let more = try (0..<2).map { _ in try MemoryFile() }
        for (index, file) in more.enumerated() { try outgoing.preserve(file.descriptor, token: UInt64(2 + index)) }
        handler.change { hooks in
            hooks.freeze = { file throws(LiveUpdateError) in
                if file.token == 3 { throw LiveUpdateError(.ioError, "too busy") }
                return file.data
            }
        }
        let error = failure { try boot.publish(discardingUnfinished: true) }
        #expect(error?.errno == .ioError && error?.reason == "too busy")
        #expect(
            handler.calls == [
                "preserve 2", "preserve 3", "freeze 1", "freeze 2", "freeze 3", "unfreeze 1", "unfreeze 2",
            ])
        #expect(try machine.openArena().outgoingTree == nil)
        handler.change { hooks in hooks.freeze = { $0.data } }
        try boot.publish(discardingUnfinished: true)
    }

    @Test("New records of a freeze travel and the old ones are freed; a failed freeze frees the new ones")
    func freezeStoresAnew() throws {
        try boot.thaw()
        let used = try boot.status().arenaUsed
        handler.change { hooks in
            hooks.freeze = { file throws(LiveUpdateError) in try file.storage.store([9, 9]) }
        }
        flb.change { hooks in
            hooks.serialize = { _ throws(LiveUpdateError) in throw LiveUpdateError(.ioError, "not now") }
        }
        #expect(errno { try boot.publish(discardingUnfinished: true) } == .ioError)
        flb.change { hooks in hooks.serialize = { $0.data } }
        try boot.publish(discardingUnfinished: true)
        let next = try machine.boot(.nextBoot, handler, flb)
        let data = try next.status().sessions[0].files[0].data
        #expect(try machine.openArena().read(at: data, count: 2) == [9, 9])
        try next.finishDiscarded()
        try next.retrieveSession("goes").close()
        #expect(try next.status().arenaUsed <= used)
    }
}

// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// Inside their callbacks FLBs may ask for any FLB except themselves.
@Suite struct FLBCallbackTests {
    /// The requests that were made inside callbacks, and their answers.
    private final class Answers: Sendable {
        private let answers = Guarded<[String: Errno?]>([:])
        func note(_ callback: String, _ answer: Errno?) { answers.with { $0[callback] = answer } }
        var all: [String: Errno?] { answers.with { $0 } }
    }

    /// Makes an FLB ask for another FLB, or for itself, in all of its callbacks.
    private func asking(_ flb: TestFLB, for other: TestFLB, _ answers: Answers) {
        flb.change { hooks in
            hooks.preserve = { [unowned other] context throws(LiveUpdateError) in
                answers.note("preserve", errno { try context.flbs.withOutgoing(other) { _ in } })
                return 1
            }
            hooks.serialize = { [unowned other] context throws(LiveUpdateError) in
                answers.note("serialize", errno { try context.flbs.withOutgoing(other) { _ in } })
                return context.data
            }
            hooks.unpreserve = { [unowned other] context in
                answers.note("unpreserve", errno { try context.flbs.withOutgoing(other) { _ in } })
            }
            hooks.retrieve = { [unowned other] context throws(LiveUpdateError) in
                answers.note("retrieve", errno { try context.flbs.withIncoming(other) { _ in } })
            }
            hooks.finish = { [unowned other] context in
                answers.note("finish", errno { try context.flbs.withIncoming(other) { _ in } })
            }
        }
    }

    /// Runs a file's whole life, in which all callbacks of an FLB, the last one in link order, are called.
    private func live(_ flbs: (first: TestFLB, last: TestFLB)) throws {
        let machine = try Machine()
        let boot = try machine.boot(.nextBoot, TestHandler(), flbs.first, flbs.last)
        let file = try MemoryFile()
        let aborted = try boot.createSession("aborted")
        try aborted.preserve(file.descriptor, token: 1)
        try aborted.close()
        try boot.createSession("s").preserve(file.descriptor, token: 1)
        try boot.publish()
        let next = try machine.boot(.nextBoot, TestHandler(), flbs.first, flbs.last)
        try next.withIncoming(flbs.last) { _ throws(LiveUpdateError) in }
        try next.retrieveSession("s").finish()
    }

    private let callbacks: Set = ["preserve", "serialize", "unpreserve", "retrieve", "finish"]

    @Test func itselfIsEDEADLK() throws {
        let (first, last) = (TestFLB("first"), TestFLB("last"))
        let answers = Answers()
        asking(last, for: last, answers)
        try live((first, last))
        #expect(Set(answers.all.keys) == callbacks)
        for (callback, answer) in answers.all { #expect(answer == .deadlock, "\(callback)") }
    }

    @Test func anotherOneIsLent() throws {
        let (first, last) = (TestFLB("first"), TestFLB("last"))
        let answers = Answers()
        asking(last, for: first, answers)
        try live((first, last))
        #expect(Set(answers.all.keys) == callbacks)
        for (callback, answer) in answers.all { #expect(answer == .some(nil), "\(callback)") }
        #expect(first.count("retrieve") == 1, "it was retrieved when it was asked for")
        #expect(first.count("finish") == 1)
    }

    @Test("Two FLBs that ask for each other get EDEADLK, and do not wait forever")
    func circles() throws {
        let machine = try Machine()
        let (first, last) = (TestFLB("first"), TestFLB("last"))
        let boot = try machine.boot(.nextBoot, TestHandler(), first, last)
        let file = try MemoryFile()
        try boot.createSession("s").preserve(file.descriptor, token: 1)
        try boot.publish()
        let innermost = Guarded<Errno?>(nil)
        first.change { hooks in
            hooks.retrieve = { [unowned last] context throws(LiveUpdateError) in
                try context.flbs.withIncoming(last) { _ throws(LiveUpdateError) in }
            }
        }
        last.change { hooks in
            hooks.retrieve = { [unowned first] context throws(LiveUpdateError) in
                innermost.with { $0 = errno { try context.flbs.withIncoming(first) { _ in } } }
            }
        }
        let next = try machine.boot(.nextBoot, TestHandler(), first, last)
        #expect(errno { try next.withIncoming(first) { _ in } } == nil)
        #expect(innermost.with { $0 } == .deadlock)
    }

    @Test("A handler's callbacks get the objects of its FLBs")
    func handlersGetTheirs() throws {
        let machine = try Machine()
        let flb = TestFLB()
        let seen = Guarded<[UInt64]>([])
        let handler = TestHandler { hooks in
            hooks.preserve = { file throws(LiveUpdateError) in
                try file.flbs.withOutgoing(flb) { object throws(LiveUpdateError) in seen.with { $0.append(object ?? 0) }
                }
                return file.token
            }
            hooks.retrieve = { file throws(LiveUpdateError) in
                try file.flbs.withIncoming(flb) { object throws(LiveUpdateError) in seen.with { $0.append(object) } }
                return .kept
            }
        }
        let boot = try machine.boot(.nextBoot, handler, flb)
        let file = try MemoryFile()
        try boot.createSession("s").preserve(file.descriptor, token: 1)
        try boot.publish()
        let next = try machine.boot(.nextBoot, handler, flb)
        _ = try next.retrieveSession("s").retrieve(token: 1)
        #expect(seen.with { $0 } == [42, 42])
    }
}

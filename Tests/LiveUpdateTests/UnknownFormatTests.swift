// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// A boot does not change state that it cannot read. The image that wrote the state, or an image that knows its
/// formats, can still start.
@Suite struct UnknownFormatTests {
    private let machine: Machine
    private let flb = TestFLB("shared-v1")

    init() throws {
        machine = try Machine()
        let boot = try machine.boot(.nextBoot, TestHandler("future-v9"), flb)
        let file = try MemoryFile()
        try boot.createSession("s").preserve(file.descriptor, token: 1)
        try boot.publish()
    }

    private func expectRefusal(_ boot: Orchestrator, naming format: String) throws {
        let before = try machine.file.bytes()
        let answers = [
            failure { try boot.open() }, failure { try boot.open() }, failure { try boot.createSession("x") },
            failure { try boot.retrieveSession("s") }, failure { try boot.openSessions }, failure { try boot.status() },
            failure { try boot.publish() }, failure { try boot.withIncoming(flb) { _ in } },
            failure { try boot.finishDiscarded() },
        ]
        for answer in answers {
            #expect(answer?.errno == .ioError)
            #expect(answer?.reason.contains("\"\(format)\"") == true, "\(String(describing: answer))")
            #expect(answer?.remedy != nil)
        }
        #expect(try machine.file.bytes() == before, "the arena is left untouched")
    }

    @Test func everyOpenOfTheNextBootIsRefused() throws {
        try expectRefusal(try machine.boot(), naming: "future-v9")
        let other = try machine.boot { try $0.register(TestHandler("past-v1")) }
        try expectRefusal(other, naming: "future-v9")
    }

    @Test func soIsEveryOpenAfterACrash() throws {
        let wrote = try machine.boot(.sameBoot, TestHandler("future-v9"), flb)
        #expect(try wrote.status().sessions.map(\.name) == ["s"])
        try expectRefusal(try machine.boot(.sameBoot), naming: "future-v9")
        let without = try machine.boot(.sameBoot) { try $0.register(TestHandler("future-v9")) }
        try expectRefusal(without, naming: "shared-v1")
    }

    @Test func theRightImageStartsAfterwards() throws {
        try expectRefusal(try machine.boot(), naming: "future-v9")
        let right = try machine.boot(.nextBoot, TestHandler("future-v9"), flb)
        let session = try right.retrieveSession("s")
        _ = try session.retrieve(token: 1)
        try session.finish()
        #expect(flb.count("finish") == 1)
    }

    @Test("An unregistered FLB is no reason to refuse: it is dropped with its last file")
    func unknownFLB() throws {
        let without = try machine.boot(.nextBoot, TestHandler("future-v9"))
        try without.retrieveSession("s").finish()
        #expect(try without.status().flbs.map(\.count) == [0])
    }
}

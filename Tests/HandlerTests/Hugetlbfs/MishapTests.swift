// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import TestSupport
import Testing

/// The file is not in its old place. The error names the difference and the remedy, and after the remedy everything
/// goes on.
@Suite(.requiresRoot) struct MishapTests {
    private static func expect(_ answer: Mishap.Answer, _ error: LiveUpdateError?) {
        #expect(error?.errno == answer.errno, "\(error as Any)")
        #expect(error?.reason.contains("token 1") == true, "\(error as Any)")
        #expect(error?.reason.contains(answer.reason) == true, "\(error as Any)")
        #expect(error?.remedy?.contains(answer.remedy) == true, "\(error as Any)")
    }

    @Test("The freeze fails while nothing is lost", .requiresHugePages(4), arguments: Mishap.allCases)
    func freeze(_ mishap: Mishap) async {
        await #expect(processExitsWith: .success) { [mishap] in
            let scene = try Mishap.Scene()
            let machine = try Machine()
            let boot = try machine.standardBoot()
            try boot.preserve(scene.file)
            try mishap.happen(to: scene)
            for _ in 0..<2 {
                let error = failure { try boot.orchestrator.publish() }
                Self.expect(mishap.answerWhileOpen(scene), error)
                let obstacle = try #require(try boot.orchestrator.obstacles().first)
                #expect(obstacle.errno == error?.errno && obstacle.token == 1)
                // An obstacle names the token apart from its reason.
                let reason = mishap.answerWhileOpen(scene).reason.replacing("token 1 has", with: "it has")
                #expect(!obstacle.reason.contains("token 1") && obstacle.reason.contains(reason))
            }
            if try mishap.mend(scene) {
                try boot.orchestrator.publish()
                let carried = try machine.retrieved()
                #expect(try carried.file.word(page: 2, .huge2M) == TestFile.word(of: 2))
            }
        }
    }

    @Test(
        "After the death of all processes a get fails until the mishap is repaired", .requiresHugePages(4),
        arguments: Mishap.allCases)
    func get(_ mishap: Mishap) async {
        await #expect(processExitsWith: .success) { [mishap] in
            let scene = try Mishap.Scene()
            let machine = try Machine()
            try machine.standardBoot().preserve(scene.file)
            try mishap.happen(to: scene)

            let survivor = Machine(survivorOf: machine)
            let boot = try survivor.standardBoot()
            let session = try #require(try boot.orchestrator.openSessions.first)
            for _ in 0..<2 {
                Self.expect(mishap.answerAfterDeath(scene), failure { try session.get(token: 1) })
                #expect(session.tokens == [1])
                // The lost file stops no update.
                try boot.orchestrator.publish()
                try boot.orchestrator.thaw()
            }
            if try mishap.mend(scene) {
                let taken = TestFile(try session.getAndUnpreserve(token: 1))
                #expect(try taken.word(page: 2, .huge2M) == TestFile.word(of: 2))
            } else {
                try session.unpreserve(token: 1)
            }
            #expect(survivor.descriptors.held.isEmpty)
        }
    }

    @Test(
        "After the death of all processes a retrieve fails until the repair, and the failure is not remembered",
        .requiresHugePages(4), arguments: Mishap.allCases)
    func retrieve(_ mishap: Mishap) async {
        await #expect(processExitsWith: .success) { [mishap] in
            let scene = try Mishap.Scene()
            let machine = try Machine()
            let first = try machine.standardBoot()
            try first.preserve(scene.file)
            try first.orchestrator.publish()
            try mishap.happen(to: scene)

            let survivor = Machine(survivorOf: machine)
            let boot = try survivor.standardBoot()
            let session = try boot.orchestrator.retrieveSession("s")
            for _ in 0..<2 {
                Self.expect(mishap.answerAfterDeath(scene), failure { try session.retrieve(token: 1) })
                #expect(try boot.file(1).retrieveStatus == .notTried)
            }
            if try mishap.mend(scene) {
                let came = TestFile(try session.retrieve(token: 1))
                #expect(try came.word(page: 2, .huge2M) == TestFile.word(of: 2))
            }
            try session.finish()
            #expect(survivor.descriptors.held.isEmpty)
        }
    }

    @Test("A file held by its descriptor is retrieved despite all changes of its name", .requiresHugePages(4))
    func afterAnUpdateItNeedsNoName() async {
        await #expect(processExitsWith: .success) {
            for mishap in Mishap.allCases where mishap != .anotherSize {
                let scene = try Mishap.Scene()
                let machine = try Machine()
                let first = try machine.standardBoot()
                try first.preserve(scene.file)
                try first.orchestrator.publish()
                try mishap.happen(to: scene)
                let carried = try machine.retrieved()
                #expect(try carried.file.word(page: 2, .huge2M) == TestFile.word(of: 2))
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// Publish returns the descriptors that travel. They are exactly those of the files in the tree, even if other threads
/// preserve and close until the last moment.
@Suite struct PublishedSlotsTests {
    @Test func whileOthersPreserve() throws {
        for _ in 0..<Scale.count(30) {
            let machine = try Machine()
            let boot = try machine.boot(.nextBoot, TestHandler())
            let isDone = Guarded(false)
            let others = (0..<3).map { thread in
                Threads.start {
                    var number: UInt64 = 0
                    guard let session = try? boot.createSession("s\(thread)") else { return }
                    while !isDone.with({ $0 }), let file = try? MemoryFile(size: 0) {
                        number += 1
                        if errno({ try session.preserve(file.descriptor, token: number) }) != nil { return }
                        if number % 3 == 0 { _ = failure { try session.unpreserve(token: number - 1) } }
                    }
                }
            }
            while try boot.status().sessions.flatMap(\.files).count < 20 { sleep(milliseconds: 1) }
            let slots = Set(try boot.publish(leavingOut: false))
            isDone.with { $0 = true }
            for thread in others { thread.join() }
            let next = try machine.boot(.nextBoot, TestHandler())
            #expect(Set(try next.status().sessions.flatMap(\.files).map(\.slot)) == slots)
            #expect(machine.descriptors.held == slots, "and nothing else is kept")
        }
    }
}

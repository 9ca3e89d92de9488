// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@Suite struct ConcurrencyTests {
    private let machine: Machine
    private let handler = TestHandler()
    private let flb = TestFLB()

    init() throws { machine = try Machine() }

    @Test("Parallel preserves in sessions of their own: the FLB is preserved once, and counts every file")
    func sharedFLB() throws {
        let boot = try machine.boot(.nextBoot, handler, flb)
        let sessions = try (0..<8).map { try boot.createSession("s\($0)") }
        let perThread = Scale.count(30)
        Threads.run(8) { thread in
            for token in 0..<perThread {
                guard let file = try? MemoryFile(size: 0) else { continue }
                #expect(errno { try sessions[thread].preserve(file.descriptor, token: UInt64(token)) } == nil)
            }
        }
        #expect(flb.calls == ["preserve"])
        #expect(try boot.status().flbs.map(\.count) == [UInt64(8 * perThread)])
        #expect(sessions.allSatisfy { $0.tokens == (0..<perThread).map { UInt64($0) } })
        Threads.run(8) { thread in #expect(errno { try sessions[thread].close() } == nil) }
        #expect(flb.calls == ["preserve", "unpreserve"])
        #expect(machine.descriptors.held.isEmpty)
    }

    @Test("One file, many threads: one of them preserves it, the others learn that it is held")
    func oneFile() throws {
        let boot = try machine.boot(.nextBoot, handler, flb)
        let file = try MemoryFile()
        for _ in 0..<Scale.count(50) {
            let sessions = try (0..<8).map { try boot.createSession("s\($0)") }
            let answers = Guarded<[Errno?]>([])
            Threads.run(8) { thread in
                let answer = errno { try sessions[thread].preserve(file.descriptor, token: 1) }
                answers.with { $0.append(answer) }
            }
            #expect(answers.with { $0.filter { $0 == nil }.count } == 1)
            #expect(answers.with { $0.filter { $0 == .resourceBusy }.count } == 7)
            #expect(sessions.filter { $0.tokens == [1] }.count == 1)
            for session in sessions { try session.close() }
        }
    }
}

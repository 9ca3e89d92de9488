import LiveUpdate
import Platform
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

    @Test("One file, many threads: one has it, the others are told that it is held")
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

    @Test("Eight threads do what they like: no update is lost, and counts are right")
    func randomOperations() throws {
        let seed = announcedSeed("random requests of eight threads")
        let boot = try machine.boot(.nextBoot, handler, flb)
        let workload = try Workload(boot, flb)
        Threads.run(8) { thread in
            var generator = SeededGenerator(seed: seed &+ UInt64(thread))
            for _ in 0..<Scale.count(400) { workload.step(&generator) }
        }
        try workload.check(boot)
        #expect(handler.count("preserve") - handler.count("unpreserve") == workload.files)
        #expect(flb.count("preserve") - flb.count("unpreserve") == (workload.files == 0 ? 0 : 1))

        // After a crash it is all the same.
        let again = try machine.boot(.sameBoot, handler, flb)
        try workload.check(again)
        try again.publish()
        try finishInParallel(try machine.boot(.nextBoot, handler, flb))
    }

    /// The next boot: everything is retrieved and finished by all threads at once.
    private func finishInParallel(_ boot: Orchestrator) throws {
        let before = (handler.count("retrieve"), flb.count("finish"))
        let names = try boot.status().sessions.map(\.name)
        let files = try boot.status().sessions.flatMap(\.files).count
        let flb = flb
        Threads.run(8) { _ in
            for name in names {
                guard let session = try? boot.retrieveSession(name) else { continue }
                for token in session.tokens { try? session.retrieve(token: token).close() }
                _ = errno { try boot.withIncoming(flb) { _ in } }
                #expect(errno { try session.close() } == nil)
            }
        }
        #expect(try boot.status().sessions.isEmpty)
        #expect(handler.count("retrieve") - before.0 == files)
        #expect(flb.count("finish") - before.1 == (files == 0 ? 0 : 1))
        #expect(machine.descriptors.held.isEmpty)
    }
}

/// Random requests, and a record of those that were acknowledged.
private final class Workload: Sendable {
    private struct Open: Sendable {
        let session: Session
        var tokens: Set<UInt64> = []
    }

    private let boot: Orchestrator
    private let flb: TestFLB
    private let pool: [MemoryFile]
    private let open = Guarded<[String: Open]>([:])

    init(_ boot: Orchestrator, _ flb: TestFLB) throws {
        self.boot = boot
        self.flb = flb
        pool = try (0..<60).map { _ in try MemoryFile(size: 0) }
    }

    var files: Int { open.with { $0.values.reduce(0) { $0 + $1.tokens.count } } }

    func step(_ generator: inout SeededGenerator) {
        let name = "session \(generator.index(below: 12))"
        switch generator.index(below: 10) {
        case 0, 1: create(name)
        case 2: close(name)
        case 3: _ = try? boot.withOutgoing(flb) { object throws(LiveUpdateError) in object }
        case 4: _ = try? boot.status()
        default: preserve(name, pool[generator.index(below: pool.count)], UInt64(generator.index(below: 6)))
        }
    }

    private func create(_ name: String) {
        if let session = try? boot.createSession(name) { open.with { $0[name] = Open(session: session) } }
    }

    private func preserve(_ name: String, _ file: MemoryFile, _ token: UInt64) {
        guard let session = open.with({ $0[name]?.session }) else { return }
        guard errno({ try session.preserve(file.descriptor, token: token) }) == nil else { return }
        // It may have been closed since, and another be there under its name.
        open.with { open in
            if open[name]?.session === session { open[name]?.tokens.insert(token) }
        }
    }

    private func close(_ name: String) {
        // Taken out before it is closed: nobody can find it there and count on it.
        guard let session = open.with({ $0.removeValue(forKey: name)?.session }) else { return }
        #expect(errno { try session.close() } == nil)
    }

    func check(_ boot: Orchestrator) throws {
        let expected = open.with { $0.mapValues(\.tokens) }
        let status = try boot.status()
        let found = Dictionary(uniqueKeysWithValues: status.sessions.map { ($0.name, Set($0.files.map(\.token))) })
        #expect(found == expected)
        #expect(status.flbs.map(\.count) == (files == 0 ? [] : [UInt64(files)]))
        #expect(Set(status.sessions.flatMap(\.files).map(\.identity)).count == files, "no file is held twice")
    }
}

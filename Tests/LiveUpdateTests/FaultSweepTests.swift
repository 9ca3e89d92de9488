import Handover
import LiveUpdate
import Platform
import SystemPackage
import TestSupport
import Testing

/// Every system call of a request fails once, and from then on: the request either worked or says the injected error,
/// what it was about is held or free as it said, and no descriptor is left over.
///
/// Descriptors are counted, so each runs in a process of its own.
@Suite struct FaultSweepTests {
    @Test func preserve() async {
        await #expect(processExitsWith: .success) { try Sweep.run(Sweep.preserve) }
    }

    @Test func publish() async {
        await #expect(processExitsWith: .success) { try Sweep.run(Sweep.publish) }
    }

    @Test func retrieve() async {
        await #expect(processExitsWith: .success) { try Sweep.run(Sweep.retrieve) }
    }

    @Test func finish() async {
        await #expect(processExitsWith: .success) { try Sweep.run(Sweep.finish) }
    }

    @Test func opening() async {
        await #expect(processExitsWith: .success) { try Sweep.run(Sweep.opening) }
    }
}

private enum Sweep {
    /// Injected: no request says it by itself.
    static let injected = Errno.tooManyReferences

    /// Which call fails, and whether all later ones do.
    struct Fault {
        var call: Int
        var isSticky: Bool

        /// - Returns: what the request said, and whether any call failed.
        func apply<Value>(_ body: () throws -> Value) -> (answer: Errno?, wasInjected: Bool) {
            let run = FaultInjector.failing(call: call, with: injected, fromThenOn: isSticky) { errno(body) }
            return (run.value, run.calls >= call)
        }
    }

    /// Calls a scene with a fault in the first system call, the second, … until none is reached.
    static func run(_ scene: (Fault) throws -> Bool) throws {
        for isSticky in [false, true] {
            _ = try scene(Fault(call: 10000, isSticky: false))
            let before = try openFiles()
            var call = 1
            while try scene(Fault(call: call, isSticky: isSticky)) {
                #expect(try nothingIsLeft(since: before), "call \(call) failed: descriptors are left")
                call += 1
            }
            #expect(call > 2, "the sweep has reached nothing")
        }
    }

    /// A handler that makes system calls in its callbacks, as real ones do.
    static func handler() -> TestHandler {
        TestHandler { hooks in
            hooks.preserve = { file throws(LiveUpdateError) in
                let extents = try extents(of: file)
                return try file.storage.store([UInt8](repeating: UInt8(extents.count), count: 100_000))
            }
            hooks.freeze = { file throws(LiveUpdateError) in
                _ = try extents(of: file)
                return file.data
            }
            hooks.retrieve = { file throws(LiveUpdateError) in
                _ = try extents(of: file)
                return file.token == 2 ? .opened(try reopened(file)) : .kept
            }
        }
    }

    private static func extents(of file: FileContext) throws(LiveUpdateError) -> [Extent] {
        do throws(SystemCallError) {
            let view = try (file.descriptor ?? FileDescriptor(rawValue: -1)).reopenedForReading()
            return try dataExtents(of: view.borrowed, size: try FileStatus(of: view.borrowed).size)
        } catch {
            throw LiveUpdateError(error, "looking for data")
        }
    }

    private static func reopened(_ file: FileContext) throws(LiveUpdateError) -> FileDescriptor {
        do throws(SystemCallError) {
            return try (file.descriptor ?? FileDescriptor(rawValue: -1)).reopenedForReading().release()
        } catch {
            throw LiveUpdateError(error, "opening it anew")
        }
    }

    private static func expect(_ answer: Errno?, _ fault: Fault) {
        #expect(answer == nil || answer == injected, "call \(fault.call) failed: \(String(describing: answer))")
    }

    // MARK: Scenes

    static func preserve(_ fault: Fault) throws -> Bool {
        let machine = try Machine(Arena.Options(initialSize: 4096, limit: 4 << 20))
        let flb = TestFLB()
        let boot = try machine.boot(.nextBoot, handler(), flb)
        let session = try boot.createSession("s")
        let file = try MemoryFile(bytes: [1, 2, 3])
        let used = try boot.status().arenaUsed
        let (answer, wasInjected) = fault.apply { try session.preserve(file.descriptor, token: 1) }
        expect(answer, fault)
        if answer == nil {
            #expect(session.tokens == [1])
            #expect(machine.descriptors.held.count == 1)
        } else {
            #expect(session.tokens == [])
            #expect(machine.descriptors.held.isEmpty)
            #expect(try boot.status().flbs.isEmpty)
            #expect(try boot.status().arenaUsed == used)
            #expect(flb.count("preserve") == flb.count("unpreserve"))
            try session.preserve(file.descriptor, token: 1)
        }
        #expect(errno { try boot.createSession("t").preserve(file.descriptor, token: 1) } == .resourceBusy)
        try session.close()
        #expect(machine.descriptors.held.isEmpty)
        return wasInjected
    }

    static func publish(_ fault: Fault) throws -> Bool {
        let machine = try Machine(Arena.Options(initialSize: 4096, limit: 4 << 20))
        let (handler, flb) = (handler(), TestFLB())
        let boot = try machine.boot(.nextBoot, handler, flb)
        let files = try (0..<2).map { _ in try MemoryFile(bytes: [1]) }
        let session = try boot.createSession("s")
        for (token, file) in files.enumerated() { try session.preserve(file.descriptor, token: UInt64(token)) }
        // Enough sessions that the tree needs room that is not there yet.
        for number in 0..<300 { _ = try boot.createSession("\(number)") }
        let used = try boot.status().arenaUsed
        let (answer, wasInjected) = fault.apply { try boot.publish() }
        expect(answer, fault)
        #expect(machine.descriptors.held.count == 2, "held, either way")
        if answer != nil {
            // The file whose freeze failed is not unfrozen.
            #expect(handler.count("freeze") - handler.count("unfreeze") <= 1)
            #expect(try boot.status().arenaUsed <= used)
            #expect(session.tokens == [0, 1])
            try boot.publish()
        }
        let next = try machine.boot(.nextBoot, Self.handler(), flb)
        let came = try next.retrieveSession("s")
        #expect(came.tokens == [0, 1])
        try came.close()
        #expect(machine.descriptors.held.isEmpty)
        return wasInjected
    }

    static func retrieve(_ fault: Fault) throws -> Bool {
        let (first, kept) = try retrieve(token: 1, fault)
        let (second, opened) = try retrieve(token: 2, fault)
        #expect(first == nil || kept)
        #expect(second == nil || opened)
        return kept || opened
    }

    private static func retrieve(token: UInt64, _ fault: Fault) throws -> (answer: Errno?, wasInjected: Bool) {
        let machine = try Machine()
        let flb = TestFLB()
        let file = try MemoryFile(bytes: [1])
        let boot = try machine.boot(.nextBoot, handler(), flb)
        try boot.createSession("s").preserve(file.descriptor, token: token)
        try boot.publish()
        let handler = handler()
        let next = try machine.boot(.nextBoot, handler, flb)
        let session = try next.retrieveSession("s")
        var came: FileDescriptor?
        let (answer, wasInjected) = fault.apply { came = try session.retrieve(token: token) }
        if let came { try OwnedDescriptor(taking: came).checked(file.identity) }
        expect(answer, fault)
        #expect(machine.descriptors.held.count == 1)
        let again = errno { try OwnedDescriptor(taking: try session.retrieve(token: token)).checked(file.identity) }
        let status = try next.status().sessions[0].files[0].retrieveStatus
        switch status {
        case .done: #expect(again == nil, "only the copy had failed: it is not the file's fault")
        case .failed(let errno): #expect(answer?.rawValue == errno && again == answer, "remembered")
        case .notTried: Issue.record("it was tried")
        }
        #expect(handler.count("retrieve") == 1, "no second callback")
        try session.close()
        #expect(machine.descriptors.held.isEmpty)
        #expect(flb.count("finish") == 1)
        return (answer, wasInjected)
    }

    static func finish(_ fault: Fault) throws -> Bool {
        let machine = try Machine()
        let flb = TestFLB()
        let files = try (0..<2).map { _ in try MemoryFile() }
        let boot = try machine.boot(.nextBoot, handler(), flb)
        let session = try boot.createSession("s")
        for (token, file) in files.enumerated() { try session.preserve(file.descriptor, token: UInt64(token)) }
        try boot.publish()
        let next = try machine.boot(.nextBoot, handler(), flb)
        let came = try next.retrieveSession("s")
        let (answer, wasInjected) = fault.apply { try came.finish() }
        // What close(2) answers is nobody's business: the descriptor is gone.
        #expect(answer == nil)
        #expect(machine.descriptors.held.isEmpty)
        #expect(flb.count("finish") == 1)
        #expect(try next.status().sessions.flatMap(\.files).isEmpty)
        return wasInjected
    }

    static func opening(_ fault: Fault) throws -> Bool {
        let machine = try Machine()
        let flb = TestFLB()
        let file = try MemoryFile()
        let boot = try machine.boot(.nextBoot, handler(), flb)
        try boot.createSession("s").preserve(file.descriptor, token: 1)
        try boot.publish()
        let before = try machine.file.bytes()
        let run = FaultInjector.failing(call: fault.call, with: injected, fromThenOn: fault.isSticky) {
            Result { try machine.boot(.nextBoot, handler(), flb) }
        }
        if case .failure = run.value { #expect(try machine.file.bytes() == before, "it was left untouched") }
        let next = try (try? run.value.get()) ?? machine.boot(.nextBoot, handler(), flb)
        let session = try next.retrieveSession("s")
        #expect(session.tokens == [1])
        try session.close()
        return run.calls >= fault.call
    }
}

extension OwnedDescriptor {
    /// Whether it is a file's.
    fileprivate func checked(_ identity: FileIdentity) throws {
        guard try FileStatus(of: borrowed).identity == identity else {
            throw LiveUpdateError(.badFileDescriptor, "another file came back")
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// Each system call of a request fails, once or from then on, with several errnos. The request works or returns the
/// injected error. Afterwards the files are held or free as the answer says, and no descriptor is left over.
///
/// The handler and the FLB make system calls in all of their callbacks. Each sweep runs in its own process, because
/// descriptors are counted.
@Suite struct FaultSweepTests {
    @Test func preserve() async {
        await #expect(processExitsWith: .success) { try FaultPlan.sweep(Sweep.preserve) }
    }

    @Test func unpreserve() async {
        await #expect(processExitsWith: .success) { try FaultPlan.sweep(Sweep.unpreserve) }
    }

    @Test("Freeze and publish, and the thaw") func publish() async {
        await #expect(processExitsWith: .success) { try FaultPlan.sweep(Sweep.publish) }
    }

    @Test func opening() async {
        await #expect(processExitsWith: .success) { try FaultPlan.sweep(Sweep.opening) }
    }

    @Test("A lost file is found by a get, and can be unpreserved") func getAndUnpreserve() async {
        await #expect(processExitsWith: .success) { try FaultPlan.sweep(Sweep.getAndUnpreserve) }
    }

    @Test("A boot that goes on after all processes have died") func goingOnAfterDeath() async {
        await #expect(processExitsWith: .success) { try FaultPlan.sweep(Sweep.goingOnAfterDeath) }
    }

    @Test("A boot that goes on while its descriptors are held") func goingOn() async {
        await #expect(processExitsWith: .success) { try FaultPlan.sweep(Sweep.goingOn) }
    }

    @Test func retrieve() async {
        await #expect(processExitsWith: .success) { try FaultPlan.sweep(Sweep.retrieve) }
    }

    @Test("The getters of an FLB, incoming and outgoing") func getters() async {
        await #expect(processExitsWith: .success) { try FaultPlan.sweep(Sweep.getters) }
    }

    @Test func finish() async {
        await #expect(processExitsWith: .success) { try FaultPlan.sweep(Sweep.finish) }
    }
}

private enum Sweep {
    /// Makes a boot with a session "s" that has these files.
    private static func preserved(
        _ machine: Machine, _ files: [UInt64: MemoryFile], _ flb: TestFLB, _ handler: TestHandler = Calling.handler()
    ) throws -> (boot: Orchestrator, session: Session) {
        let boot = try machine.boot(.nextBoot, handler, flb)
        let session = try boot.createSession("s")
        for (token, file) in files.sorted(by: { $0.key < $1.key }) {
            try session.preserve(file.descriptor, token: token)
        }
        return (boot, session)
    }

    private static func twoFiles() throws -> [UInt64: MemoryFile] {
        [1: try MemoryFile(bytes: [1]), 2: try MemoryFile(bytes: [2])]
    }

    // MARK: Sweeps

    static func preserve(_ fault: FaultPlan) throws -> Bool {
        let machine = try Machine(Arena.Options(initialSize: 4096, limit: 4 << 20))
        let flb = Calling.flb()
        let boot = try machine.boot(.nextBoot, Calling.handler(), flb)
        let session = try boot.createSession("s")
        let file = try MemoryFile(bytes: [1, 2, 3])
        let used = try boot.status().arenaUsed
        let (answer, wasInjected) = fault.apply { try session.preserve(file.descriptor, token: 1) }
        if answer == nil {
            #expect(session.tokens == [1])
            #expect(machine.descriptors.held.count == 1)
        } else {
            #expect(session.tokens == [])
            #expect(machine.descriptors.held.isEmpty)
            #expect(try boot.status().flbs.isEmpty)
            #expect(try boot.status().arenaUsed == used)
            // A file with a failed preserve is not undone.
            #expect(flb.count("preserve") - flb.count("unpreserve") <= 1)
            try session.preserve(file.descriptor, token: 1)
        }
        #expect(errno { try boot.createSession("t").preserve(file.descriptor, token: 1) } == .resourceBusy)
        try session.close()
        #expect(machine.descriptors.held.isEmpty)
        return wasInjected
    }

    /// No fault during an unpreserve prevents the close of the session.
    static func unpreserve(_ fault: FaultPlan) throws -> Bool {
        let machine = try Machine()
        let (handler, flb, files) = (Calling.handler(), Calling.flb(), try twoFiles())
        let (boot, session) = try preserved(machine, files, flb, handler)
        let (answer, wasInjected) = fault.apply { try session.close() }
        #expect(answer == nil)
        #expect(machine.descriptors.held.isEmpty)
        #expect(handler.count("unpreserve") == 2 && flb.count("unpreserve") == 1)
        #expect(try boot.status().sessions.isEmpty && boot.status().flbs.isEmpty)
        return wasInjected
    }

    static func publish(_ fault: FaultPlan) throws -> Bool {
        let machine = try Machine(Arena.Options(initialSize: 4096, limit: 4 << 20))
        let (handler, flb, files) = (Calling.handler(), Calling.flb(), try twoFiles())
        let (boot, session) = try preserved(machine, files, flb, handler)
        // With this many sessions the tree needs more room than the arena has.
        for number in 0..<300 { _ = try boot.createSession("\(number)") }
        let used = try boot.status().arenaUsed
        let (answer, wasInjected) = fault.apply { try boot.publish() }
        if answer == nil {
            #expect(fault.apply { try boot.thaw() }.answer == nil)
            #expect(handler.count("freeze") == handler.count("unfreeze"))
        } else {
            // A file with a failed freeze is not unfrozen.
            #expect(handler.count("freeze") - handler.count("unfreeze") <= 1)
        }
        #expect(machine.descriptors.held.count == 2, "held, either way")
        #expect(try boot.status().arenaUsed <= used)
        #expect(session.tokens == [1, 2])
        try boot.publish()
        try expectAllComesBack(machine, files)
        return wasInjected
    }

    /// A boot that does not begin leaves the arena unchanged, and a boot that begins has everything.
    static func opening(_ fault: FaultPlan) throws -> Bool {
        let machine = try Machine()
        let files = try twoFiles()
        try preserved(machine, files, Calling.flb()).boot.publish()
        let before = try machine.file.bytes()
        var began: Orchestrator?
        let (answer, wasInjected) = fault.apply {
            began = try machine.boot(.nextBoot, Calling.handler(), Calling.flb())
        }
        #expect((began == nil) == (answer != nil))
        if began == nil { #expect(try machine.file.bytes() == before, "it was left untouched") }
        try expectAllComesBack(machine, files, began)
        return wasInjected
    }

    private static func expectAllComesBack(
        _ machine: Machine, _ files: [UInt64: MemoryFile], _ began: Orchestrator? = nil
    ) throws {
        let boot = try began ?? machine.boot(.nextBoot, Calling.handler(), Calling.flb())
        let session = try boot.retrieveSession("s")
        #expect(Set(session.tokens) == Set(files.keys))
        for (token, file) in files {
            try session.retrieve(token: token).checked(file.identity)
        }
        try session.close()
        #expect(machine.descriptors.held.isEmpty)
    }

    static func getAndUnpreserve(_ fault: FaultPlan) throws -> Bool {
        let machine = try Machine()
        let flb = TestFLB()
        let file = try MemoryFile()
        let isMissing = Guarded(true)
        let handler = TestHandler { hooks in
            hooks.reopen = { [place = file.descriptor] _ throws(LiveUpdateError) in
                if isMissing.with({ $0 }) { throw LiveUpdateError(.ioError, "not yet") }
                return try Calling.anew(place)
            }
        }
        try machine.boot(.nextBoot, handler, flb).createSession("s").preserve(file.descriptor, token: 1)
        let after = Machine(survivorOf: machine)
        let boot = try after.boot(.nextBoot, handler, flb)
        let session = try boot.openSessions[0]
        isMissing.with { $0 = false }
        var came: OwnedDescriptor?
        let (answer, wasInjected) = fault.apply { came = try session.getAndUnpreserve(token: 1) }
        let hasCome = came != nil
        #expect(hasCome == (answer == nil))
        #expect(session.tokens == (answer == nil ? [] : [1]))
        if answer != nil { came = try session.getAndUnpreserve(token: 1) }
        try came.take()?.checked(file.identity)
        #expect(after.descriptors.held.isEmpty)
        #expect(try boot.status().flbs.isEmpty)
        return wasInjected
    }

    /// A fault at any call, while a boot begins after the death of all processes, loses no file.
    static func goingOnAfterDeath(_ fault: FaultPlan) throws -> Bool {
        let machine = try Machine()
        let flb = TestFLB()
        let file = try MemoryFile()
        let handler = TestHandler { hooks in
            hooks.reopen = { [place = file.descriptor] _ throws(LiveUpdateError) in try Calling.anew(place) }
        }
        try machine.boot(.nextBoot, handler, flb).createSession("s").preserve(file.descriptor, token: 1)
        let after = Machine(survivorOf: machine)
        let arena = try after.openArena()
        let boot = Orchestrator(arena: arena, descriptors: after.descriptors)
        try boot.register(handler)
        try boot.register(flb, on: handler)
        let (answer, wasInjected) = fault.apply { try boot.open() }
        #expect(answer == nil, "what was not found is looked for again")
        let session = try boot.openSessions[0]
        try session.getAndUnpreserve(token: 1).checked(file.identity)
        #expect(after.descriptors.held.isEmpty)
        return wasInjected
    }

    /// A failed check of a descriptor does not make its file lost.
    static func goingOn(_ fault: FaultPlan) throws -> Bool {
        let machine = try Machine()
        let files = try twoFiles()
        _ = try preserved(machine, files, Calling.flb())
        let before = try machine.file.bytes()
        var again: Orchestrator?
        let (answer, wasInjected) = fault.apply {
            again = try machine.boot(.sameBoot, Calling.handler(), Calling.flb())
        }
        #expect((again == nil) == (answer != nil))
        if again == nil { #expect(try machine.file.bytes() == before, "it was left untouched") }
        let boot = try again ?? machine.boot(.sameBoot, Calling.handler(), Calling.flb())
        try boot.publish()
        try expectAllComesBack(machine, files)
        return wasInjected
    }

    static func retrieve(_ fault: FaultPlan) throws -> Bool {
        let reached = try [1, 2].map { token in try retrieve(token: token, fault) }
        return reached.contains(true)
    }

    private static func retrieve(token: UInt64, _ fault: FaultPlan) throws -> Bool {
        let machine = try Machine()
        let file = try MemoryFile(bytes: [1])
        try preserved(machine, [token: file], Calling.flb()).boot.publish()
        let (handler, flb) = (Calling.handler(), Calling.flb())
        let next = try machine.boot(.nextBoot, handler, flb)
        let session = try next.retrieveSession("s")
        var came: OwnedDescriptor?
        let (answer, wasInjected) = fault.apply { came = try session.retrieve(token: token) }
        let hasCome = came != nil
        try came.take()?.checked(file.identity)
        #expect(hasCome == (answer == nil))
        #expect(machine.descriptors.held.count == 1)
        let again = errno { try session.retrieve(token: token).checked(file.identity) }
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
        return wasInjected
    }

    /// A failed retrieve is remembered; a failed resume is tried again.
    static func getters(_ fault: FaultPlan) throws -> Bool {
        let machine = try Machine()
        let files = try twoFiles()
        _ = try preserved(machine, files, Calling.flb())
        let resuming = Calling.flb()
        let boot = try machine.boot(.sameBoot, Calling.handler(), resuming)
        let outgoing = fault.apply { try boot.withOutgoing(resuming) { _ in } }
        #expect(errno { try boot.withOutgoing(resuming) { _ in } } == nil)
        #expect(resuming.count("resume") == (outgoing.answer == nil ? 1 : 2))

        try boot.publish()
        let flb = Calling.flb()
        let next = try machine.boot(.nextBoot, Calling.handler(), flb)
        let incoming = fault.apply { try next.withIncoming(flb) { _ in } }
        #expect(errno { try next.withIncoming(flb) { _ in } } == incoming.answer)
        #expect(flb.count("retrieve") == 1)
        try next.retrieveSession("s").close()
        #expect(flb.count("finish") == (incoming.answer == nil ? 1 : 0), "what was never there cannot be finished")
        return outgoing.wasInjected || incoming.wasInjected
    }

    /// No fault during a finish prevents the end of the session.
    static func finish(_ fault: FaultPlan) throws -> Bool {
        let machine = try Machine()
        let files = try twoFiles()
        try preserved(machine, files, Calling.flb()).boot.publish()
        let (handler, flb) = (Calling.handler(), Calling.flb())
        let next = try machine.boot(.nextBoot, handler, flb)
        let came = try next.retrieveSession("s")
        let (answer, wasInjected) = fault.apply { try came.finish() }
        #expect(answer == nil)
        #expect(machine.descriptors.held.isEmpty)
        #expect(handler.count("finish") == 2)
        #expect(flb.count("retrieve") == 1 && flb.count("finish") <= 1, "given up when it cannot be retrieved")
        #expect(errno { try next.withIncoming(flb) { _ in } } == .noData)
        #expect(try next.status().sessions.flatMap(\.files).isEmpty)
        return wasInjected
    }
}

extension OwnedDescriptor {
    /// Checks that the descriptor belongs to the file.
    fileprivate func checked(_ identity: FileIdentity) throws {
        guard try FileStatus(of: borrowed).identity == identity else {
            throw LiveUpdateError(.badFileDescriptor, "another file came back")
        }
    }
}

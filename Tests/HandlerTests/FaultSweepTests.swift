import Glibc
import LiveUpdate
import Platform
import SystemPackage
import TestSupport
import Testing

/// Fails the first, the second, the third … system call of each request, until one is untouched. After each: it worked,
/// or the answer is the injected error; the files are held or free exactly as the answer says; no descriptor is left.
///
/// In processes of their own, where descriptors can be counted.
@Suite struct FaultSweepTests {
    @Test(arguments: FaultSweep.Request.allCases) func memfd(_ request: FaultSweep.Request) async {
        await #expect(processExitsWith: .success) { [request] in
            try FaultSweep(pageSize: .base).run(request)
        }
    }

    @Test(.requiresHugePages(4), arguments: FaultSweep.Request.allCases)
    func hugeMemfd(_ request: FaultSweep.Request) async {
        await #expect(processExitsWith: .success) { [request] in
            try FaultSweep(pageSize: .huge2M).run(request)
        }
    }
}

/// The sweep over one kind of file.
struct FaultSweep {
    enum Request: String, Codable, CaseIterable, Sendable {
        case preserve, publish, retrieve, finish
    }

    /// The one that faults meet, as token 2, and one beside it, as token 1.
    private let subject: TestFile
    private let other: TestFile

    init(pageSize: PageSize) throws {
        subject = try TestFile(pages: [0, 2], of: 3, pageSize: pageSize)
        other = try TestFile(pages: [1], of: 2)
    }

    func run(_ request: Request) throws {
        for errno in [Errno.ioError, .noMemory, .tooManyOpenFiles].prefix(Scale.isSanitized ? 1 : 3) {
            for sticky in [false, true] {
                let faults = Faults(errno: errno, sticky: sticky)
                var number = 1
                while try attempt(request, number, faults) { number += 1 }
                #expect(number > 1 || request == .publish, "no fault was injected")
            }
        }
    }

    private struct Faults {
        let errno: Errno
        let sticky: Bool

        /// What a request answers when one of its calls fails; and whether it made as many.
        func injecting(_ number: Int, _ body: () throws -> Void) -> (answer: LiveUpdateError?, reached: Bool) {
            let (answer, calls) = FaultInjector.failing(call: number, with: errno, fromThenOn: sticky) {
                failure(body)
            }
            if let answer { #expect(isInjected(answer), "call \(number): \(answer)") }
            return (answer, calls >= number)
        }

        /// A handler that cannot look at a file does not take it, and says why.
        private func isInjected(_ answer: LiveUpdateError) -> Bool {
            answer.errno == errno || answer.errno == .noSuchFileOrDirectory && answer.reason.contains("\(errno)")
        }
    }

    /// - Returns: whether the fault was reached.
    private func attempt(_ request: Request, _ number: Int, _ faults: Faults) throws -> Bool {
        let before = try openFiles()
        let reached =
            switch request {
            case .preserve: try preserve(number, faults)
            case .publish: try publish(number, faults)
            case .retrieve: try retrieve(number, faults)
            case .finish: try finish(number, faults)
            }
        #expect(try nothingIsLeft(since: before), "\(request), call \(number)")
        return reached
    }

    private func preserve(_ number: Int, _ faults: Faults) throws -> Bool {
        let machine = try Machine()
        let boot = try machine.standardBoot()
        let session = try boot.orchestrator.createSession("s")
        try session.preserve(other.descriptor, token: 1)
        let (used, open) = (try boot.orchestrator.status().arenaUsed, try openFiles())

        let (answer, reached) = faults.injecting(number) { try session.preserve(subject.descriptor, token: 2) }
        if answer != nil {
            #expect(session.tokens == [1])
            #expect(try boot.orchestrator.status().arenaUsed == used, "call \(number)")
            #expect(try boot.orchestrator.status().flbs.isEmpty)
            #expect(try nothingIsLeft(since: open), "preserve, call \(number)")
            try session.preserve(subject.descriptor, token: 2)
        }
        try expectHeld(machine, boot)
        try boot.orchestrator.publish()
        try expectBothComeBack(machine)
        return reached
    }

    private func publish(_ number: Int, _ faults: Faults) throws -> Bool {
        let machine = try Machine()
        let boot = try preserved(machine)
        // Something to be stored anew in the freeze.
        for file in [other, subject] { try file.descriptor.setPosition(try file.descriptor.position() + 1) }
        let (answer, reached) = faults.injecting(number) { try boot.orchestrator.publish() }
        if answer == nil {
            let (answer, _) = faults.injecting(number) { try boot.orchestrator.thaw() }
            #expect(answer == nil)
        }
        try expectHeld(machine, boot)
        try boot.orchestrator.publish()
        try expectBothComeBack(machine)
        return reached
    }

    private func retrieve(_ number: Int, _ faults: Faults) throws -> Bool {
        let machine = try Machine()
        try preserved(machine).orchestrator.publish()
        let boot = try machine.standardBoot()
        let session = try boot.orchestrator.retrieveSession("s")
        var came: FileDescriptor?
        let (answer, reached) = faults.injecting(number) { came = try session.retrieve(token: 2) }
        #expect((came == nil) == (answer != nil))
        if let file = came.map({ TestFile(taking: $0) }) {
            #expect(try file.status.identity == subject.status.identity)
        }
        try expectRemembered(answer, boot, session)
        let second = TestFile(taking: try session.retrieve(token: 1))
        #expect(try second.status.identity == other.status.identity)
        try session.finish()
        #expect(machine.descriptors.held.isEmpty)
        return reached
    }

    /// What the handler could not retrieve is remembered; what only lacked a descriptor can be asked for again.
    private func expectRemembered(_ answer: LiveUpdateError?, _ boot: StandardBoot, _ session: Session) throws {
        let again = failure { _ = TestFile(taking: try session.retrieve(token: 2)) }
        switch try boot.file(2).retrieveStatus {
        case .failed(let number):
            #expect(answer?.errno.rawValue == number)
            #expect(again?.errno.rawValue == number)
        case .done: #expect(again == nil)
        case .notTried: Issue.record("it was tried")
        }
    }

    private func finish(_ number: Int, _ faults: Faults) throws -> Bool {
        let machine = try Machine()
        try preserved(machine).orchestrator.publish()
        let boot = try machine.standardBoot()
        let session = try boot.orchestrator.retrieveSession("s")
        let (answer, reached) = faults.injecting(number) {
            try session.finish()
            try session.close()
        }
        #expect(answer == nil, "what close(2) answers changes nothing")
        #expect(machine.descriptors.held.isEmpty)
        let again = try boot.orchestrator.createSession("s")
        try again.preserve(subject.descriptor, token: 2)
        try again.close()
        return reached
    }

    private func preserved(_ machine: Machine) throws -> StandardBoot {
        let boot = try machine.standardBoot()
        let session = try boot.orchestrator.createSession("s")
        try session.preserve(other.descriptor, token: 1)
        try session.preserve(subject.descriptor, token: 2)
        return boot
    }

    private func expectHeld(_ machine: Machine, _ boot: StandardBoot) throws {
        #expect(machine.descriptors.held.count == 2)
        let probe = try boot.orchestrator.createSession("probe")
        for file in [other, subject] {
            #expect(errno { try probe.preserve(file.descriptor, token: 1) } == .resourceBusy)
        }
        try probe.close()
    }

    private func expectBothComeBack(_ machine: Machine) throws {
        let next = try machine.standardBoot()
        let session = try next.orchestrator.retrieveSession("s")
        for (token, file) in [(1, other), (2, subject)] as [(UInt64, TestFile)] {
            let came = TestFile(taking: try session.retrieve(token: token))
            #expect(try came.status.identity == file.status.identity)
        }
        try session.finish()
        #expect(machine.descriptors.held.isEmpty)
    }
}

// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandlers
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// Fails the first, the second, the third … system call of each request on each kind of file, with several errnos.
/// After each failure the request has worked, or has returned the injected error. The files are held or free as the
/// answer says, and no descriptor is left.
///
/// Each sweep runs in its own process, because descriptors are counted.
@Suite struct FaultSweepTests {
    @Test(arguments: FaultSweep.Kind.ordinary, FaultSweep.Request.allCases)
    func ordinary(_ kind: FaultSweep.Kind, _ request: FaultSweep.Request) async {
        await #expect(processExitsWith: .success) { [kind, request] in try FaultSweep(kind).run(request) }
    }

    @Test(.requiresHugePages(4), arguments: FaultSweep.Kind.huge, FaultSweep.Request.allCases)
    func huge(_ kind: FaultSweep.Kind, _ request: FaultSweep.Request) async {
        await #expect(processExitsWith: .success) { [kind, request] in try FaultSweep(kind).run(request) }
    }

    @Test(.requiresRoot, .requiresHugePages(4), arguments: FaultSweep.Kind.named, FaultSweep.Request.allCases)
    func named(_ kind: FaultSweep.Kind, _ request: FaultSweep.Request) async {
        await #expect(processExitsWith: .success) { [kind, request] in try FaultSweep(kind).run(request) }
    }
}

/// The sweep over one kind of file.
struct FaultSweep {
    /// The kinds of files, one for each handler.
    enum Kind: String, Codable, Sendable {
        case memfd, hugeMemfd, hugetlbfsFile

        static let ordinary = [Kind.memfd]
        static let huge = [Kind.hugeMemfd]
        static let named = [Kind.hugetlbfsFile]

        /// Makes a file of three pages, of which the second is a hole.
        func make() throws -> TestFile {
            switch self {
            case .memfd: try TestFile(pages: [0, 2], of: 3)
            case .hugeMemfd: try TestFile(pages: [0, 2], of: 3, pageSize: .huge2M)
            case .hugetlbfsFile: try Hugetlbfs().make(pages: [0, 2], of: 3).file
            }
        }
    }

    enum Request: String, Codable, CaseIterable, Sendable {
        case preserve, unpreserve, publish, boot, retrieve, getters, finish
    }

    /// The file that faults affect has token 2. The other file has token 1.
    private let subject: TestFile
    private let other: TestFile

    init(_ kind: Kind) throws {
        subject = try kind.make()
        other = try TestFile(pages: [1], of: 2)
    }

    func run(_ request: Request) throws {
        // An ordinary file has no FLB, so its getters reach no call.
        try FaultPlan.sweep(reaching: request == .getters ? 0 : 2) { fault in
            switch request {
            case .preserve: try preserve(fault)
            case .unpreserve: try unpreserve(fault)
            case .publish: try publish(fault)
            case .boot: try boot(fault)
            case .retrieve: try retrieve(fault)
            case .getters: try getters(fault)
            case .finish: try finish(fault)
            }
        }
    }

    // MARK: Requests

    private func preserve(_ fault: FaultPlan) throws -> Bool {
        let machine = try Machine()
        let boot = try machine.standardBoot()
        let session = try boot.orchestrator.createSession("s")
        try session.preserve(other.descriptor, token: 1)
        let (used, open) = (try boot.orchestrator.status().arenaUsed, try openFiles())

        let (answer, reached) = fault.apply { try session.preserve(subject.descriptor, token: 2) }
        if answer != nil {
            #expect(session.tokens == [1])
            #expect(try boot.orchestrator.status().arenaUsed == used, "\(fault)")
            #expect(try boot.orchestrator.status().flbs.isEmpty)
            #expect(try nothingIsLeft(since: open), "\(fault)")
            try session.preserve(subject.descriptor, token: 2)
        }
        try expectHeld(machine, boot)
        try boot.orchestrator.publish()
        try expectBothComeBack(machine)
        return reached
    }

    private func unpreserve(_ fault: FaultPlan) throws -> Bool {
        let machine = try Machine()
        let boot = try preserved(machine)
        let session = try #require(try boot.orchestrator.openSessions.first)
        let (answer, reached) = fault.apply { try session.close() }
        #expect(answer == nil)
        try expectFree(machine, boot)
        return reached
    }

    /// Publishes with the freeze, and takes the freeze back.
    private func publish(_ fault: FaultPlan) throws -> Bool {
        let machine = try Machine()
        let boot = try preserved(machine)
        // Changed offsets make the freeze store something again.
        for file in [other, subject] { try file.descriptor.setPosition(try file.descriptor.position() + 1) }
        let (answer, reached) = fault.apply { try boot.orchestrator.publish() }
        if answer == nil { #expect(fault.apply { try boot.orchestrator.thaw() }.answer == nil) }
        try expectHeld(machine, boot)
        try boot.orchestrator.publish()
        try expectBothComeBack(machine)
        return reached
    }

    private func boot(_ fault: FaultPlan) throws -> Bool {
        let machine = try Machine()
        try preserved(machine).orchestrator.publish()
        let bytes = try machine.file.bytes()
        var began: StandardBoot?
        let (answer, reached) = fault.apply { began = try machine.standardBoot() }
        #expect((began == nil) == (answer != nil))
        if began == nil { #expect(try machine.file.bytes() == bytes, "it was left untouched") }
        try expectBothComeBack(machine, began)
        return reached
    }

    private func retrieve(_ fault: FaultPlan) throws -> Bool {
        let machine = try Machine()
        try preserved(machine).orchestrator.publish()
        let boot = try machine.standardBoot()
        let session = try boot.orchestrator.retrieveSession("s")
        var came: TestFile?
        let (answer, reached) = fault.apply { came = TestFile(try session.retrieve(token: 2)) }
        #expect((came == nil) == (answer != nil))
        if let came {
            #expect(try came.status.identity == subject.status.identity)
        }
        try expectRemembered(answer, boot, session)
        let second = TestFile(try session.retrieve(token: 1))
        #expect(try second.status.identity == other.status.identity)
        try session.finish()
        #expect(machine.descriptors.held.isEmpty)
        return reached
    }

    /// A failed retrieve of the handler is remembered. A retrieve that only lacked a descriptor can be repeated.
    private func expectRemembered(_ answer: Errno?, _ boot: StandardBoot, _ session: Session) throws {
        let again = errno { _ = TestFile(try session.retrieve(token: 2)) }
        switch try boot.file(2).retrieveStatus {
        case .failed(let number): #expect(answer?.rawValue == number && again == answer)
        case .done: #expect(again == nil)
        case .notTried: Issue.record("it was tried")
        }
    }

    /// Reads the changes of the pools in both boots. Files of a kind without an FLB reach no call.
    private func getters(_ fault: FaultPlan) throws -> Bool {
        let machine = try Machine()
        let first = try preserved(machine)
        let outgoing = fault.apply {
            try first.orchestrator.withOutgoing(first.hugeTLB) { (state) throws(LiveUpdateError) in
                _ = try state?.changes()
            }
        }
        try first.orchestrator.publish()
        let next = try machine.standardBoot()
        let incoming = fault.apply {
            guard try !next.orchestrator.status().flbs.isEmpty else { return }
            try next.orchestrator.withIncoming(next.hugeTLB) { (state) throws(LiveUpdateError) in
                _ = try state.changes()
            }
        }
        try expectBothComeBack(machine, next)
        return outgoing.wasInjected || incoming.wasInjected
    }

    private func finish(_ fault: FaultPlan) throws -> Bool {
        let machine = try Machine()
        try preserved(machine).orchestrator.publish()
        let boot = try machine.standardBoot()
        let session = try boot.orchestrator.retrieveSession("s")
        let (answer, reached) = fault.apply {
            try session.finish()
            try session.close()
        }
        #expect(answer == nil, "what close(2) answers changes nothing")
        try expectFree(machine, boot)
        return reached
    }

    // MARK: States after a fault

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

    private func expectFree(_ machine: Machine, _ boot: StandardBoot) throws {
        #expect(machine.descriptors.held.isEmpty)
        let again = try boot.orchestrator.createSession("s")
        for (token, file) in [other, subject].enumerated() {
            try again.preserve(file.descriptor, token: UInt64(token))
        }
        try again.close()
    }

    private func expectBothComeBack(_ machine: Machine, _ began: StandardBoot? = nil) throws {
        let next = try began ?? machine.standardBoot()
        let session = try next.orchestrator.retrieveSession("s")
        for (token, file) in [(1, other), (2, subject)] as [(UInt64, TestFile)] {
            let came = TestFile(try session.retrieve(token: token))
            #expect(try came.status.identity == file.status.identity)
        }
        try session.finish()
        #expect(machine.descriptors.held.isEmpty)
    }
}

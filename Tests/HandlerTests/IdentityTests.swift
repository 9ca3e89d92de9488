// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// A file is held once, even if it is offered by several descriptors.
@Suite struct IdentityTests {
    enum Kind: CaseIterable, Sendable {
        case sameDescriptor, copy, secondOpen

        func descriptor(of file: TestFile) throws -> TestFile {
            switch self {
            case .sameDescriptor: file
            case .copy: TestFile(try file.descriptor.duplicated())
            case .secondOpen: try TestFile(reopening: file, O_RDONLY)
            }
        }
    }

    @Test(arguments: Kind.allCases) func memfd(_ kind: Kind) throws {
        try check(try TestFile(pages: [0], of: 1), kind)
    }

    @Test(.requiresHugePages(1), arguments: Kind.allCases) func hugeMemfd(_ kind: Kind) throws {
        try check(try TestFile(pages: [0], of: 1, pageSize: .huge2M), kind)
    }

    private func check(_ file: TestFile, _ kind: Kind) throws {
        let machine = try Machine()
        let second = try kind.descriptor(of: file)
        func expectHeld(_ boot: StandardBoot) throws {
            let other = try boot.orchestrator.createSession("other")
            let error = failure { try other.preserve(second.descriptor, token: 2) }
            #expect(error?.errno == .resourceBusy)
            #expect(error?.remedy != nil)
            #expect(machine.descriptors.held.count == 1)
            try other.close()
        }
        let carried = try machine.carry(file) { boot in try expectHeld(boot) }
        try expectHeld(carried.boot)
        try carried.session.finish()
        try carried.boot.orchestrator.createSession("other").preserve(second.descriptor, token: 2)
    }

    @Test func itIsHeldBeforeItIsRetrieved() throws {
        let machine = try Machine()
        let file = try TestFile(size: 4096)
        let first = try machine.standardBoot()
        try first.orchestrator.createSession("s").preserve(file.descriptor, token: 1)
        try first.orchestrator.publish()
        let next = try machine.standardBoot()
        let other = try next.orchestrator.createSession("other")
        #expect(errno { try other.preserve(file.descriptor, token: 1) } == .resourceBusy)
        try next.orchestrator.retrieveSession("s").close()
        try other.preserve(file.descriptor, token: 1)
    }
}

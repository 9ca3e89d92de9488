// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdateHandlers
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// After the death of every process, a file with a name on hugetlbfs is found again from the arena alone.
@Suite(.requiresRoot) struct FoundAgainTests {
    @Test("A file of an outgoing session is found again with its open mode and its offset", .requiresHugePages(4))
    func withoutAnUpdate() async {
        await #expect(processExitsWith: .success) {
            let (_, path) = try Hugetlbfs().make()
            for mode in [O_RDONLY, O_WRONLY, O_RDWR, O_RDWR | O_APPEND] {
                let machine = try Machine()
                let file = try TestFile(opening: path, mode)
                try file.descriptor.setPosition(4096)
                try machine.standardBoot().preserve(file)

                let after = try Machine(survivorOf: machine).standardBoot()
                let session = try #require(try after.orchestrator.openSessions.first)
                let taken = TestFile(try session.getAndUnpreserve(token: 1))
                #expect(taken.mode == mode)
                #expect(try taken.descriptor.position() == 4096)
                #expect(try taken.status.identity == file.status.identity)
                #expect(fcntl(taken.descriptor.rawValue, F_GETFD) == FD_CLOEXEC)
                #expect(try after.orchestrator.status().flbs.isEmpty, "it was the last")
                #expect(session.tokens.isEmpty)
            }
        }
    }

    @Test("A file that was handed over is retrieved and finished, and the FLB with it", .requiresHugePages(4))
    func afterPublish() async {
        await #expect(processExitsWith: .success) {
            let (_, path) = try Hugetlbfs().make()
            for mode in [O_RDONLY, O_WRONLY, O_RDWR, O_RDWR | O_APPEND] {
                let machine = try Machine()
                let file = try TestFile(opening: path, mode)
                let first = try machine.standardBoot()
                try first.preserve(file)
                try file.descriptor.setPosition(8192)
                try first.orchestrator.publish()

                let survivor = Machine(survivorOf: machine)
                let carried = try survivor.retrieved()
                #expect(carried.file.mode == mode)
                #expect(try carried.file.descriptor.position() == 8192, "where it was when it was frozen")
                #expect(try carried.file.status.identity == file.status.identity)
                let pages = try carried.boot.orchestrator.withIncoming(carried.boot.hugeTLB) {
                    $0.pagesPreserved(of: .huge2M)
                }
                #expect(pages == 2)
                try carried.session.finish()
                #expect(survivor.descriptors.held.isEmpty)
                #expect(try carried.boot.orchestrator.status().flbs.allSatisfy { $0.count == 0 })
            }
        }
    }

    @Test("A file that was retrieved before all processes died a second time is found again", .requiresHugePages(4))
    func afterRetrieve() async {
        await #expect(processExitsWith: .success) {
            let (file, _) = try Hugetlbfs().make()
            let machine = try Machine()
            let carried = try machine.carry(file)
            let again = Machine(survivorOf: machine)
            let boot = try again.standardBoot()
            #expect(try boot.file(1).retrieveStatus == .done)
            #expect(again.descriptors.held.count == 1)
            let session = try #require(try boot.orchestrator.openSessions.first)
            let found = TestFile(try session.retrieve(token: 1))
            #expect(try found.status.identity == file.status.identity)
            try session.close()
            withExtendedLifetime(carried) {}
        }
    }

    @Test("An update works at once afterwards", .requiresHugePages(4))
    func updateAfterDeath() async {
        await #expect(processExitsWith: .success) {
            let (file, _) = try Hugetlbfs().make()
            let machine = try Machine()
            try machine.standardBoot().preserve(file)
            let survivor = Machine(survivorOf: machine)
            try survivor.standardBoot().orchestrator.publish()
            let carried = try survivor.retrieved()
            #expect(try carried.file.status.identity == file.status.identity)
            #expect(try carried.file.word(page: 2, .huge2M) == TestFile.word(of: 2))
        }
    }

    @Test("A memory file in the same session is lost, and the error says so", .requiresHugePages(4))
    func memoryFiles() async {
        await #expect(processExitsWith: .success) {
            let (file, _) = try Hugetlbfs().make()
            let memory = [try TestFile(pages: [0], of: 1), try TestFile(size: 1 << 21, pageSize: .huge2M)]
            let machine = try Machine()
            let first = try machine.standardBoot()
            try first.preserve(file)
            let session = try #require(try first.orchestrator.openSessions.first)
            for (token, file) in memory.enumerated() {
                try session.preserve(file.descriptor, token: UInt64(2 + token))
            }
            let survivor = Machine(survivorOf: machine)
            let boot = try survivor.standardBoot()
            let again = try #require(try boot.orchestrator.openSessions.first)
            for token in [2, 3] as [UInt64] {
                let error = failure { _ = try again.get(token: token) }
                #expect(error?.errno == .badFileDescriptor)
                #expect(error?.reason.contains("lost with the last process that held it") == true)
                #expect(error?.remedy?.contains("unpreserve the file") == true)
                try again.unpreserve(token: token)
            }
            #expect(survivor.descriptors.held.count == 1)
            #expect(try boot.orchestrator.lostFiles().isEmpty)
            try boot.orchestrator.publish()
            _ = try survivor.retrieved()
        }
    }
}

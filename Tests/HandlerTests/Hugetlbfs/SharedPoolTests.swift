// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandlers
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// Files with a name and files without one depend on one HugeTLB. Its count and its pages include both kinds.
@Suite(.requiresRoot) struct SharedPoolTests {
    @Test(.requiresHugePages(8)) func bothHandlers() async {
        await #expect(processExitsWith: .success) { try Self.carryBoth() }
    }

    private static func carryBoth() throws {
        let hugetlbfs = try Hugetlbfs()
        let named = [try hugetlbfs.make("a", pages: [0, 2]).file, try hugetlbfs.make("b", pages: [1]).file]
        let unnamed = try TestFile(pages: [0, 1, 2], of: 4, pageSize: .huge2M)
        let machine = try Machine()
        let boot = try machine.standardBoot()
        let first = try boot.orchestrator.createSession("first")
        let second = try boot.orchestrator.createSession("second")
        try first.preserve(named[0].descriptor, token: 1)
        try first.preserve(unnamed.descriptor, token: 2)
        try second.preserve(named[1].descriptor, token: 1)
        #expect(try boot.orchestrator.status().flbs.map(\.count) == [3])
        try boot.orchestrator.publish()

        let next = try machine.standardBoot()
        #expect(try pages(next) == 6)
        try next.orchestrator.retrieveSession("first").close()
        #expect(try next.orchestrator.status().flbs.map(\.count) == [1])
        #expect(try pages(next) == 6, "it is still there")
        try next.orchestrator.retrieveSession("second").close()
        #expect(errno { try pages(next) } == .noData)
    }

    private static func pages(_ boot: StandardBoot) throws -> UInt64 {
        try boot.orchestrator.withIncoming(boot.hugeTLB) { $0.pagesPreserved(of: .huge2M) }
    }

    @Test("A file that two users preserve counts twice, and its pages once", .requiresHugePages(8))
    func twoUsers() async {
        await #expect(processExitsWith: .success) {
            let named = try Hugetlbfs().make("a", pages: [0, 2]).file
            let unnamed = try TestFile(pages: [0], of: 2, pageSize: .huge2M)
            let machine = try Machine()
            let boot = try machine.standardBoot()
            for user in [7, 8] as [SessionUser] {
                let session = try boot.orchestrator.createSession("s", holder: SessionHolder(user: user))
                try session.preserve(named.descriptor, token: 1)
                try session.preserve(unnamed.descriptor, token: 2)
                // The second user's record has one page more.
                try unnamed.fill(page: 1, .huge2M)
            }
            #expect(try boot.orchestrator.status().flbs.map(\.count) == [4])
            try boot.orchestrator.publish()
            let next = try machine.standardBoot()
            #expect(try next.orchestrator.status().flbs.map(\.count) == [4])
            #expect(try Self.pages(next) == 4)
        }
    }

    @Test("The removal of the last file ends the FLB, for each of its handlers", .requiresHugePages(8))
    func oneByOne() async {
        await #expect(processExitsWith: .success) {
            let named = try Hugetlbfs().make().file
            let unnamed = try TestFile(pages: [0], of: 1, pageSize: .huge2M)
            for tokens in [[1, 2], [2, 1]] as [[UInt64]] {
                let boot = try Machine().standardBoot()
                let session = try boot.orchestrator.createSession("s")
                try session.preserve(named.descriptor, token: 1)
                try session.preserve(unnamed.descriptor, token: 2)
                _ = TestFile(try session.getAndUnpreserve(token: tokens[0]))
                #expect(try boot.orchestrator.status().flbs.map(\.count) == [1])
                try session.unpreserve(token: tokens[1])
                #expect(try boot.orchestrator.status().flbs.isEmpty)
            }
        }
    }
}

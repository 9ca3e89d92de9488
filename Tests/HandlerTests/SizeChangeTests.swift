// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// A file with another size than at preserve is not the described one. The freeze fails, and nothing is lost.
@Suite struct SizeChangeTests {
    @Test(arguments: [0, 4096, 3 * 4096] as [UInt64]) func memfd(_ size: UInt64) throws {
        try check(try TestFile(pages: [0, 1], of: 2), size: size, original: 2 * 4096)
    }

    @Test(.requiresHugePages(4), arguments: [0, 1, 3] as [UInt64]) func hugeMemfd(_ pages: UInt64) throws {
        let file = try TestFile(pages: [0, 1], of: 2, pageSize: .huge2M)
        try check(file, size: pages << 21, original: 2 << 21)
    }

    private func check(_ file: TestFile, size: UInt64, original: UInt64) throws {
        let machine = try Machine()
        let boot = try machine.standardBoot()
        let (before, after) = (try TestFile(size: 4096), try TestFile(size: 4096))
        try boot.orchestrator.createSession("earlier").preserve(before.descriptor, token: 9)
        let session = try boot.orchestrator.createSession("s")
        try session.preserve(file.descriptor, token: 1)
        let used = try boot.orchestrator.status().arenaUsed

        #expect(try boot.orchestrator.obstacles().isEmpty)
        try file.descriptor.setSize(size)
        try before.descriptor.setPosition(5)
        let obstacles = try boot.orchestrator.obstacles()
        #expect(obstacles.map(\.token) == [1] && obstacles.map(\.errno) == [.staleNFSFileHandle])
        #expect(obstacles.first?.session == "s")
        for _ in 0..<3 {
            let error = try #require(failure { try boot.orchestrator.publish() })
            #expect(error.errno == .staleNFSFileHandle)
            #expect(error.reason.contains("token 1 has \(size) bytes"))
            // An obstacle names the token apart from its reason.
            #expect(obstacles.first?.reason == error.reason.replacing("token 1 has", with: "it has"))
            #expect(error.remedy?.contains("set its size back") == true)
        }
        #expect(try boot.orchestrator.status().arenaUsed == used, "a freeze that failed leaves nothing behind")

        // The boot goes on. It takes requests, and with the old size the update succeeds.
        try session.preserve(after.descriptor, token: 2)
        try file.descriptor.setSize(original)
        try boot.orchestrator.publish()
        let next = try machine.retrieved()
        #expect(try next.file.status.size == original)
        #expect(next.session.tokens == [1, 2])
        let earlier = TestFile(try next.boot.orchestrator.retrieveSession("earlier").retrieve(token: 9))
        #expect(try earlier.descriptor.position() == 5)
    }

    @Test("A file that an update left out can be retrieved as held, and all other files travel as usual")
    func leftOut() throws {
        let machine = try Machine()
        let boot = try machine.standardBoot()
        let (changed, other) = (try TestFile(size: 4096), try TestFile(size: 4096))
        let session = try boot.orchestrator.createSession("s", holder: SessionHolder(user: 7))
        try session.preserve(changed.descriptor, token: 77)
        try boot.orchestrator.createSession("s").preserve(other.descriptor, token: 1)
        try changed.descriptor.setSize(1)
        _ = try boot.orchestrator.draft(leavingOut: true)
        try boot.orchestrator.publish(leavingOut: true)
        let next = try machine.retrieved()
        #expect(try next.file.status.identity == other.status.identity)
        let left = try next.boot.orchestrator.retrieveSession("s", holder: SessionHolder(user: 7))
        let error = failure { try left.retrieve(token: 77) }
        #expect(error?.errno == .staleNFSFileHandle)
        #expect(error?.reason.contains(": it has 1 bytes, and had 4096 when it was preserved") == true)
        #expect(error?.remedy?.contains("--as-held") == true)
        let held = TestFile(try left.retrieveAsHeld(token: 77))
        #expect(try held.status.identity == changed.status.identity && held.status.size == 1)
        try left.finish()
    }

    @Test func aSessionThatIsClosedLetsTheOthersTravel() throws {
        let machine = try Machine()
        let boot = try machine.standardBoot()
        let (changed, other) = (try TestFile(size: 4096), try TestFile(size: 4096))
        let stale = try boot.orchestrator.createSession("stale")
        try stale.preserve(changed.descriptor, token: 1)
        try boot.orchestrator.createSession("s").preserve(other.descriptor, token: 1)
        try changed.descriptor.setSize(8192)
        #expect(errno { try boot.orchestrator.publish() } == .staleNFSFileHandle)
        try stale.close()
        try boot.orchestrator.publish()
        #expect(try machine.retrieved().file.status.identity == other.status.identity)
    }
}

// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateCore

/// The checksums of a file, as a record and in the arena.
@Suite struct AttestTests {
    private let machine: Machine

    init() throws { machine = try Machine(Specimen.options) }

    private static func sums(_ first: UInt32, count: Int = 3) throws -> FileSums {
        try #require(
            FileSums(
                size: UInt64(count) * 65536 - 1, blockSize: 65536,
                sums: (0..<count).map { first &+ UInt32($0) }))
    }

    // MARK: The record

    @Test("Sums are read back, also with bytes behind them; sums that contradict each other are refused")
    func record() throws {
        let sums = try Self.sums(.max)
        #expect(try FileSums(sums.bytes) == sums && FileSums(sums.bytes + [0, 0]) == sums)
        for length in sums.bytes.indices {
            #expect(throws: ArenaError.self) { try FileSums([UInt8](sums.bytes.prefix(length))) }
        }
        #expect(FileSums(size: 65537, blockSize: 65536, sums: [1]) == nil)
        #expect(FileSums(size: 1, blockSize: 2048, sums: [1]) == nil)
        #expect(FileSums(size: 1, blockSize: 65537, sums: [1]) == nil)
        #expect(FileSums(size: 1, blockSize: 1 << 47, sums: [1]) == nil)
        #expect(FileSums(size: 0, blockSize: 4096, sums: []) != nil)
        var tooMany = sums.bytes
        tooMany.replaceSubrange(16..<24, with: nativeBytes(UInt64.max))
        #expect(throws: ArenaError.self) { try FileSums(tooMany) }
    }

    @Test(
        "A large file has longer blocks",
        arguments: [
            (0, 65536), (1 << 34, 65536), (1 << 34 + 1, 131_072), (1 << 40, 1 << 22), (UInt64.max, 1 << 46),
        ] as [(UInt64, UInt64)])
    func blocks(size: UInt64, blockSize: UInt64) {
        #expect(FileSums.blockSize(for: size, smallest: 65536) == blockSize)
        #expect(FileSums.blockCount(size: size, blockSize: blockSize) <= FileSums.mostBlocks)
    }

    @Test("The difference names the blocks, or the size") func difference() throws {
        let sums = try Self.sums(1)
        #expect(sums.difference(from: sums) == nil)
        let other = try #require(FileSums(size: sums.size, blockSize: 65536, sums: [1, 0, 0]))
        #expect(sums.difference(from: other) == .blocks([1, 2]))
        #expect(try sums.difference(from: Self.sums(1, count: 2)) == .size(131_071))
    }

    // MARK: In the arena

    @Test("Sums survive a crash and an update, take the place of earlier ones, and go with their file") func life()
        throws
    {
        var boot = try machine.boot(.nextBoot, TestHandler())
        var session = try boot.createSession("s")
        let (file, other) = (try MemoryFile(), try MemoryFile())
        defer { withExtendedLifetime((file, other)) {} }
        try session.preserve(file.descriptor, token: 1)
        let used = try boot.status().arenaUsed
        #expect(errno { try session.attestation(token: 1) } == FileSums.none)
        #expect(errno { try session.attest(token: 2, Self.sums(1)) } == .noSuchFileOrDirectory)
        #expect(errno { try session.attestation(token: 2) } == .noSuchFileOrDirectory)
        try session.attest(token: 1, Self.sums(1))
        let once = try boot.status().arenaUsed
        #expect(once > used)
        try session.attest(token: 1, Self.sums(7))
        #expect(try boot.status().arenaUsed == once)
        #expect(try session.attestation(token: 1) == Self.sums(7))
        try session.preserve(other.descriptor, token: 2)
        #expect(try boot.status().sessions[0].files.map(\.isAttested) == [true, false])
        boot = try machine.boot(.sameBoot, TestHandler())
        session = try #require(try boot.openSessions.first)
        #expect(try session.attestation(token: 1) == Self.sums(7))
        try boot.publish()
        boot = try machine.boot(.nextBoot, TestHandler())
        session = try boot.retrieveSession("s")
        #expect(try session.attestation(token: 1) == Self.sums(7))
        #expect(errno { try session.attestation(token: 2) } == FileSums.none)
        #expect(errno { try session.attest(token: 1, Self.sums(1)) } == .invalidArgument)
        try session.finish()
        try session.close()
        #expect(try boot.status().sessions.isEmpty)
    }

    @Test("Unpreserving an attested file frees the sums") func freed() throws {
        let boot = try machine.boot(.nextBoot, TestHandler())
        let session = try boot.createSession("s")
        let file = try MemoryFile()
        defer { withExtendedLifetime(file) {} }
        func round() throws -> UInt64 {
            try session.preserve(file.descriptor, token: 1)
            try session.attest(token: 1, Self.sums(1))
            try session.unpreserve(token: 1)
            return try boot.status().arenaUsed
        }
        #expect(try round() == round())
    }

    @Test("The sums count for the user's share of the arena") func limits() throws {
        let boot = try machine.boot(.nextBoot, TestHandler())
        let session = try boot.createSession("s", holder: SessionHolder(user: 7))
        let file = try MemoryFile()
        defer { withExtendedLifetime(file) {} }
        try session.preserve(file.descriptor, token: 1)
        try boot.limitUsers(to: UserLimits(arenaBytes: boot.usage(of: 7).arenaBytes))
        #expect(errno { try session.attest(token: 1, Self.sums(1)) } == .noSpace)
        let used = try boot.status().arenaUsed
        try session.attest(token: 1, Self.sums(1), isLimited: false)
        #expect(try boot.status().arenaUsed > used && boot.usage(of: 7).arenaBytes > 0)
    }

    @Test("An attestation outside of the file's ranges is refused") func misplaced() throws {
        let ranges = [StoredRange(range: Extent(offset: 8192, length: 64), checksum: 0)]
        var state = BootState()
        try state.apply(
            .sessionAdded(SessionState(id: SessionID(value: 1), name: "s", direction: .outgoing, progress: .open)))
        try state.apply(
            .fileAdded(
                FileState(
                    id: FileID(value: 2), session: SessionID(value: 1), token: 1, compatible: "a-v1",
                    slot: DescriptorSlot(1), identity: FileIdentity(device: 1, inode: 2), data: 0, ranges: ranges,
                    flbs: [], retrieved: .notTried)))
        var copy = state
        try copy.apply(.fileAttested(FileID(value: 2), 8192, ranges: ranges))
        #expect(copy.snapshot.count == state.snapshot.count + 1)
        #expect(throws: ArenaError.self) { try state.apply(.fileAttested(FileID(value: 2), 4096, ranges: ranges)) }
        #expect(throws: ArenaError.self) { try state.apply(.fileAttested(FileID(value: 9), 8192, ranges: ranges)) }
    }
}

// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

@testable import luoctl

/// The decisions, the sums and the words of `luoctl verify`, without a luod.
@Suite struct VerifyTests {
    private static func holder(_ process: CInt = 7, isStopped: Bool = false, isMapped: Bool = false) -> FileHolder {
        FileHolder(process: process, command: "vmm", isStopped: isStopped, isMapped: isMapped)
    }

    struct StillnessCase: Sendable {
        let seals: Seals
        let holders: FileHolders
        let result: Stillness
    }

    @Test(
        "A file can change unless it is sealed, or all of its holders are stopped",
        arguments: [
            StillnessCase(seals: [], holders: FileHolders(), result: .still),
            StillnessCase(seals: [], holders: FileHolders(unseen: [1]), result: .unknown([1])),
            StillnessCase(
                seals: [], holders: FileHolders(seen: [holder(isStopped: true, isMapped: true)]), result: .still),
            StillnessCase(seals: [], holders: FileHolders(seen: [holder()], unseen: [1]), result: .changes([holder()])),
            StillnessCase(
                seals: [.write, .shrink, .grow], holders: FileHolders(seen: [holder(isMapped: true)], unseen: [9]),
                result: .still),
            // The size can change.
            StillnessCase(seals: .write, holders: FileHolders(seen: [holder()]), result: .changes([holder()])),
            StillnessCase(
                seals: [.futureWrite, .shrink, .grow], holders: FileHolders(seen: [holder()]), result: .still),
            StillnessCase(
                seals: [.futureWrite, .shrink, .grow], holders: FileHolders(seen: [holder(isMapped: true)]),
                result: .changes([holder(isMapped: true)])),
            StillnessCase(
                seals: [.futureWrite, .shrink, .grow], holders: FileHolders(unseen: [1]), result: .unknown([1])),
        ])
    func stillness(one: StillnessCase) { #expect(Stillness(one.seals, one.holders) == one.result) }

    @Test("A refusal names the processes, and what to do") func refusals() throws {
        let changes = try #require(Stillness.changes((1...5).map { Self.holder($0) }).refusal)
        #expect(changes.reason.contains("process 1 (vmm)") && changes.reason.contains("and 2 more"))
        #expect(changes.remedy.contains("kill -STOP 1") && changes.remedy.contains("F_SEAL_WRITE"))
        #expect(try #require(Stillness.unknown([4]).refusal).remedy.contains("run as root"))
        #expect(Stillness.still.refusal == nil)
    }

    @Test("Data of a window, and the rest for the next one") func windows() {
        var rest = [Extent(offset: 0, length: 10), Extent(offset: 20, length: 30)][...]
        let first = FileSumming.takeData(of: Extent(offset: 0, length: 25), from: &rest)
        #expect(first == [Extent(offset: 0, length: 10), Extent(offset: 20, length: 5)])
        #expect(
            FileSumming.takeData(of: Extent(offset: 25, length: 10), from: &rest) == [Extent(offset: 25, length: 10)])
        #expect(
            FileSumming.takeData(of: Extent(offset: 35, length: 65), from: &rest) == [Extent(offset: 35, length: 15)])
        #expect(rest.isEmpty)
    }

    @Test("The sums are those of the bytes, with holes as zeros, and reading fills no hole") func sums() throws {
        let file = try makeMemoryFile(named: "sums", size: 0)
        var bytes = [UInt8](repeating: 0, count: 200_000)
        for place in [5, 70_000, 70_001, 199_999] { bytes[place] = UInt8(truncatingIfNeeded: place | 1) }
        try file.borrowed.setSize(UInt64(bytes.count))
        for place in [5, 70_000, 70_001, 199_999] {
            try file.borrowed.setPosition(Int64(place))
            try file.borrowed.writeWhole([bytes[place]])
        }
        let before = try FileStatus(of: file.borrowed).allocated
        let summing = try FileSumming(file.borrowed, "file")
        #expect(summing.blockSize == 65536 && summing.size == 200_000)
        let progress = Progress("", total: 1, isShown: false)
        let sums = try #require(try summing.sums(blockSize: 65536, progress))
        let expected = stride(from: 0, to: bytes.count, by: 65536).map {
            CRC32C.of(bytes[$0..<min($0 + 65536, bytes.count)])
        }
        #expect(sums.sums == expected)
        #expect(try FileStatus(of: file.borrowed).allocated == before)
    }

    // MARK: Words

    private static let file = LuodStatus.File(
        token: "5", compatible: "memfd-extents-v1", size: 1, retrieved: 0, isAttested: true)

    private static func session(_ files: [LuodStatus.File] = [file]) -> LuodStatus.Session {
        LuodStatus.Session(
            number: 1, name: "vm", owner: 7, direction: "outgoing", isOpen: true, isFinished: false, isDetached: true,
            isAttached: false, files: files)
    }

    @Test("A difference names session, token, offset and pages") func differences() throws {
        let stored = try #require(FileSums(size: 4 * 65536 + 1, blockSize: 65536, sums: [1, 2, 3, 4, 5]))
        let now = try #require(FileSums(size: 4 * 65536 + 1, blockSize: 65536, sums: [1, 0, 0, 4, 0]))
        let found = VerifiedFile(Self.session(), Self.file, stored, now: now, 4096)
        #expect(found.state == .different)
        #expect(
            found.lines == [
                "session \"vm\", token 5: 131072 bytes from offset 65536 on differ (pages 16 to 47 of 4 KiB)",
                "session \"vm\", token 5: 1 byte from offset 262144 on differ (page 64 of 4 KiB)",
            ])
        let same = VerifiedFile(Self.session(), Self.file, stored, now: stored, 4096)
        #expect(same.lines == ["session \"vm\", token 5: same, 5 blocks of 64 KiB"])
        let shorter = try #require(FileSums(size: 1, blockSize: 65536, sums: [1]))
        let cut = VerifiedFile(Self.session(), Self.file, stored, now: shorter, 4096)
        #expect(cut.lines == ["session \"vm\", token 5: the file has 1 bytes, and had 262145"])
        #expect(!VerifyReport([same, cut]).isSame && VerifyReport([same]).isSame)
    }

    @Test("A session or a token that is not there, or has no sums, is an error") func selection() {
        var plain = Self.file
        (plain.token, plain.isAttested) = ("6", false)
        let status = LuodStatus(
            daemon: LuodStatus.Daemon(orchestrator: 1, keeper: 1), sessions: [Self.session([Self.file, plain])])
        func failure(_ name: SessionName?, _ token: UInt64?, user: UInt32 = 7) -> Errno? {
            let selection = VerifySelection(status, user: user, name, token)
            do throws(LiveUpdateError) {
                try selection.check(name, token)
                return nil
            } catch {
                return error.errno
            }
        }
        #expect(failure(nil, nil) == nil && failure("vm", nil) == nil && failure("vm", 5) == nil)
        #expect(failure("no", nil) == .noSuchFileOrDirectory && failure("vm", 9) == .noSuchFileOrDirectory)
        #expect(failure("vm", 6) == FileSums.none)
        #expect(failure("vm", nil, user: 8) == .noSuchFileOrDirectory)
        #expect(VerifySelection(status, user: 7, nil, nil).files.map { $0.files.map(\.token) } == [["5"]])
    }
}

// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// The remains of a killed demo are damaged before the next run finds them. It reports that, exits 1, and goes on.
@Suite(.requiresRoot, .requiresHugePages(4)) struct DemoLeftoverTests {
    /// The damage to the remains, and the expected report.
    enum Damage: String, CaseIterable {
        case removed, renamed, replaced, shortened, flipped, punched, unmounted, noNotes, emptyNotes, impossibleNotes

        var fault: String {
            switch self {
            case .removed, .renamed: "nothing is named /dev/shm/"
            case .replaced: "it is another file of that name: inode "
            case .shortened: "it has 0 bytes, and had 2097152"
            case .flipped: "content, CRC32C: "
            case .punched: "holes: []"
            case .unmounted: "nor hugetlbfs where it was"
            case .noNotes, .emptyNotes, .impossibleNotes: "file 1 is there, and nothing is noted about what was in it"
            }
        }

        func happen(in room: DemoRoom) async throws {
            let name = "/dev/shm/luoctl-demo-0/*.hugetlbfs/luoctl-demo-*-1"
            switch self {
            case .removed: try await sh(room, "rm \(name)")
            case .renamed: try await sh(room, "cd /dev/shm/luoctl-demo-0/*.hugetlbfs && mv luoctl-demo-*-1 other")
            case .replaced:
                try await sh(room, "for f in \(name); do mv $f $f.other; truncate -s 2M $f; rm $f.other; done")
            case .shortened: try await sh(room, "truncate -s 0 \(name)")
            case .flipped: try flip(room)
            case .punched:
                let file = try open(room)
                try file.borrowed.punchHole(offset: 0, length: PageSize.huge2M.bytes)
            case .unmounted: try await sh(room, "umount /dev/shm/luoctl-demo-0/*.hugetlbfs")
            case .noNotes: try await sh(room, "rm /dev/shm/luoctl-demo-0/*.notes")
            case .emptyNotes: try await sh(room, "truncate -s 0 /dev/shm/luoctl-demo-0/*.notes")
            case .impossibleNotes:
                try await sh(room, "sed -i 's/\"order\":9/\"order\":200/' /dev/shm/luoctl-demo-0/*.notes")
            }
        }

        private func sh(_ room: DemoRoom, _ script: String) async throws {
            let ended = try await room.shell(script)
            #expect(ended.status == 0, "\(ended)")
        }

        private func open(_ room: DemoRoom) throws -> OwnedDescriptor {
            let number = unsafe Glibc.open(try room.file("-1"), O_RDWR | O_CLOEXEC)
            guard number >= 0 else { throw Errno(rawValue: errno) }
            return OwnedDescriptor(taking: FileDescriptor(rawValue: number))
        }

        private func flip(_ room: DemoRoom) throws {
            let file = try open(room)
            let mapping = try Mapping(of: file.borrowed, length: PageSize.huge2M.bytes, .shared(writable: true))
            // The byte is not changed in place, because the compiler cannot instrument that for the thread sanitizer.
            let byte = unsafe mapping.bytes.load(fromByteOffset: 100, as: UInt8.self)
            unsafe mapping.bytes.storeBytes(of: ~byte, toByteOffset: 100, as: UInt8.self)
        }
    }

    @Test(arguments: Damage.allCases, [false, true])
    func isNamed(_ damage: Damage, afterUpdate: Bool) async throws {
        let room = try await DemoRoom()
        try await room.leaveKilledDemo(afterUpdate: afterUpdate)
        try await damage.happen(in: room)
        let report = try await room.report(["--no-reserve"], status: 1)
        let found = try #require(report.recovered.first)
        #expect(report.recovered.count == 1)
        #expect(found.updates == (afterUpdate ? 1 : 0))
        #expect(found.files == 2)
        #expect(found.whole == [], "it is not as it was")
        #expect(found.gone == [2])
        #expect(found.faults.first?.contains(damage.fault) == true, "\(found.faults)")
        #expect(report.faults == found.faults.map { "run \(found.run): \($0)" }, "the files of this run held")
        #expect(try await room.report(["--no-reserve"]).recovered.isEmpty, "said once")
        try await room.expectNothingLeft()
    }

    @Test("Undamaged remains are whole", arguments: [false, true]) func untouched(afterUpdate: Bool) async throws {
        let room = try await DemoRoom()
        try await room.leaveKilledDemo(afterUpdate: afterUpdate)
        // The notes about frames are not necessary.
        _ = try await room.shell("rm /dev/shm/luoctl-demo-0/*.frames")
        let found = try #require(try await room.report(["--no-reserve"]).recovered.first)
        #expect(found.updates == (afterUpdate ? 1 : 0))
        #expect(found.whole == [1])
        #expect(found.gone == [2])
        try await room.expectNothingLeft()
    }

    @Test(
        "An unreadable arena stays; each run goes on, fails, and says what to do",
        arguments: [
            "truncate -s 100 ARENA", "truncate -s 0 ARENA", "printf nonsense | dd of=ARENA conv=notrunc",
            "dd if=/dev/urandom of=ARENA bs=1k seek=4 count=28 conv=notrunc", "chmod 666 ARENA",
            "rm ARENA; mkdir ARENA",
        ])
    func unreadable(_ script: String) async throws {
        let room = try await DemoRoom()
        try await room.leaveKilledDemo()
        let arena = try #require(try room.files(".arena").first)
        _ = try await room.shell(script.replacing("ARENA", with: arena))
        var removal = ""
        for _ in 0..<2 {
            let report = try await room.report(["--no-reserve", "--hugetlbfs"], status: 1)
            #expect(report.recovered.map(\.files) == [0])
            #expect(report.faults.count == 1)
            let fault = try #require(report.faults.first)
            #expect(fault.contains("leftovers cannot be removed"), "\(fault)")
            let command = try #require(fault.range(of: "; to forget it: "), "\(fault)")
            removal = String(fault[command.upperBound...])
            #expect(try room.files().contains(arena))
        }
        let removed = try await room.shell(removal)
        #expect(removed.status == 0, "\(removal): \(removed)")
        #expect(try await room.report(["--no-reserve"]).recovered.isEmpty)
        try await room.expectNothingLeft()
    }

    @Test("Remains without an arena are removed without a message") func withoutArena() async throws {
        let room = try await DemoRoom()
        _ = try await room.shell("mount -t hugetlbfs -o pagesize=2M none /mnt")
        try await room.leaveKilledDemo()
        _ = try await room.shell("rm /dev/shm/luoctl-demo-0/*.arena")
        #expect(try await room.report(["--no-reserve"]).recovered.isEmpty)
        try await room.expectNothingLeft(mounts: ["/mnt"])
    }

    @Test("A directory that other users may write to is refused, and named") func foreignDirectory() async throws {
        let room = try await DemoRoom()
        _ = try await room.shell("mkdir -m 777 /dev/shm/luoctl-demo-0 && chmod 777 /dev/shm/luoctl-demo-0")
        let ended = try await room.demo()
        #expect(ended.status == 1)
        #expect(
            ended.errors.contains("/dev/shm/luoctl-demo-0 is not a directory that only this user may write to: remove"))
    }
}

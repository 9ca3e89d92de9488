// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// `luoctl hugepages` with real holders, and with pools that it changes and restores.
struct PoolsJSON: Decodable {
    struct Pool: Decodable {
        struct Counts: Decodable, Equatable {
            let pageSize, total, persistent, free, reserved, surplus, overcommit: UInt64
        }
        let counts: Counts
        let inUse, held, anonymous, unopened: UInt64
        let unexplained: Int64
        let reservedByMappings, reservedByMounts: UInt64
    }
    struct Held: Decodable {
        let session, token: String
        let user: UInt32
    }
    struct ReservingMount: Decodable {
        let path: String
        let pageSize, minSize, unused: UInt64
    }
    struct File: Decodable {
        let fd: CInt?
        let path: String
        let pageSize, size, bytes, inode, links: UInt64
        let held: Held?
    }
    struct Holder: Decodable {
        struct Mapped: Decodable {
            let pageSize, bytes, inode, reserved: UInt64
            let path: String
        }
        let pid: pid_t
        let command: String
        let mapped: [Mapped]
        let descriptors: [File]
    }
    let version: Int
    let pools: [Pool]
    let holders: [Holder]
    let unopenedFiles: [File]
    let reservingMounts: [ReservingMount]
    let hiddenProcesses: [pid_t]
    let hiddenDirectories: [String]
}

@Suite struct HugePagesListTests {
    private static let page = PageSize.huge2M.bytes

    private func list() async throws -> PoolsJSON {
        let ended = try await luoctl("hugepages", "--json")
        #expect(ended.status == 0, "\(ended)")
        return try ended.json(PoolsJSON.self)
    }

    @Test(.requiresHugePages(5)) func holdersAreShown() async throws {
        let file = try makeMemoryFile(named: "held", size: 4 * Self.page, pageSize: .huge2M)
        try file.borrowed.allocate(offset: 0, length: 3 * Self.page)
        let mapping = try Mapping(of: file.borrowed, length: 4 * Self.page, .shared(writable: true))
        unsafe mapping.bytes.storeBytes(of: 1, as: UInt8.self)
        // This process has the file as its descriptor 3, and no mapping of it.
        let program = try Program(["/bin/sleep", "600"], inheriting: file.borrowed)
        try await eventually("sleep", within: 10) { try isRunning("sleep", program.process) }
        let found = try await list()
        #expect(found.version == 1)

        let ours = try #require(found.holders.first { $0.pid == getpid() })
        let number = file.borrowed.rawValue
        #expect(ours.descriptors.first { $0.fd == number }?.bytes == 3 * Self.page)
        let inode = try FileStatus(of: file.borrowed).identity.inode
        #expect(ours.mapped.first { $0.inode == inode }?.bytes == Self.page)
        let other = try #require(found.holders.first { $0.pid == program.process })
        #expect(other.command == "sleep")
        #expect(other.mapped.isEmpty)
        #expect(other.descriptors.map(\.fd) == [3])
        #expect(other.descriptors.first?.size == 4 * Self.page)

        let pool = try #require(found.pools.first { $0.counts.pageSize == Self.page })
        #expect(pool.inUse == pool.counts.total - pool.counts.free)
        #expect(Int64(pool.held + pool.anonymous + pool.unopened) + pool.unexplained == Int64(pool.inUse))

        let text = try await luoctl("hugepages")
        #expect(text.status == 0)
        #expect(
            text.lines.contains { $0.contains("sleep") && $0.contains("fd 3") && $0.contains("6 MiB  /memfd:held") })
        withExtendedLifetime(program) {}
        #expect(text.lines.first?.hasPrefix("pages  node  total  persistent  free  reserved  surplus") == true)
    }

    private func isRunning(_ command: String, _ process: pid_t) throws -> Bool {
        try String(contentsOfFile: "/proc/\(process)/comm", encoding: .utf8) == "\(command)\n"
    }

    @Test(.requiresRoot, .requiresHugePages(2)) func aFileThatNobodyHasOpenIsFound() async throws {
        let mount = try HugetlbfsMount()
        let file = try mount.makeFile("guest", pages: 2).release()
        #expect(try await list().unopenedFiles.allSatisfy { $0.path != "\(mount.path)/guest" })
        try closeDescriptor(file)
        let found = try #require(try await list().unopenedFiles.first { $0.path == "\(mount.path)/guest" })
        #expect(found.bytes == 2 * Self.page)
        #expect(found.links == 1)
        let text = try await luoctl("hugepages", "list")
        #expect(text.output.contains("files that no process has open:"))
        #expect(text.output.contains("2 in files that no process has open"))
    }

    @Test("A process that has reserved pages without touching them is shown", .requiresHugePages(4))
    func reservations() async throws {
        let file = try makeMemoryFile(named: "reserved", size: 3 * Self.page, pageSize: .huge2M)
        // The mappings of this project have MAP_NORESERVE, so this one is made without them.
        let shared = unsafe mmap(
            nil, Int(3 * Self.page), PROT_READ | PROT_WRITE, MAP_SHARED, file.borrowed.rawValue, 0)
        try #require(unsafe shared != MAP_FAILED)
        defer { _ = unsafe munmap(shared, Int(3 * Self.page)) }
        unsafe shared?.storeBytes(of: 1, as: UInt8.self)
        let own = unsafe mmap(
            nil, Int(Self.page), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0)
        try #require(unsafe own != MAP_FAILED)
        defer { _ = unsafe munmap(own, Int(Self.page)) }
        let found = try await list()
        let ours = try #require(found.holders.first { $0.pid == getpid() })
        let inode = try FileStatus(of: file.borrowed).identity.inode
        #expect(ours.mapped.first { $0.inode == inode }?.reserved == 2 * Self.page)
        #expect(ours.mapped.contains { $0.inode != inode && $0.bytes == 0 && $0.reserved == Self.page })
        let pool = try #require(found.pools.first { $0.counts.pageSize == Self.page })
        #expect(pool.reservedByMappings >= 3)
        let text = try await luoctl("hugepages").output
        #expect(text.contains("reserved, and not touched:\n"))
        let lines = text.split(separator: "\n").filter { $0.contains("\(getpid())") }
        #expect(lines.contains { $0.contains("4 MiB  /memfd:reserved") }, "\(text)")
        #expect(lines.contains { $0.contains("2 MiB  private mapping") }, "\(text)")
        _ = consume file
    }

    @Test("A mount with min_size= is shown with the pages that it reserves", .requiresRoot, .requiresHugePages(2))
    func reservingMount() async throws {
        let directory = try TemporaryDirectory(in: "/tmp")
        let mounted = unsafe mount(
            "none", directory.path, "hugetlbfs", 0, "pagesize=2M,min_size=\(2 * Self.page)")
        try #require(mounted == 0)
        defer { _ = unsafe umount2(directory.path, CInt(MNT_DETACH)) }
        let found = try #require(try await list().reservingMounts.first { $0.path == directory.path })
        #expect(found.minSize == 2 * Self.page && found.unused == 2 * Self.page && found.pageSize == Self.page)
        let text = try await luoctl("hugepages").output
        #expect(text.contains("4 MiB  the mount \(directory.path), min_size=4 MiB"), "\(text)")
    }

    @Test("The rows of luod name session and token, as its user sees them", .requiresRoot, .requiresHugePages(2))
    func sessions() async throws {
        let daemon = try await RunningDaemon()
        let client = try daemon.connect()
        let session = try client.create("guest")
        let file = try MemoryFile(
            taking: try makeMemoryFile(named: "ram", size: 2 * Self.page, pageSize: .huge2M))
        try session.preserve(file, 7)
        let ended = try await luoctl("hugepages", "--state", daemon.state)
        let line = ended.lines.first { $0.contains("luod") && $0.contains("/memfd:ram") }
        #expect(line?.contains("guest token 7  /memfd:ram") == true, "\(ended)")
        let json = try await luoctl("hugepages", "--json", "--state", daemon.state).json(PoolsJSON.self)
        let held = json.holders.filter { $0.command == "luod" }.flatMap(\.descriptors).compactMap(\.held)
        #expect(held.contains { $0.session == "guest" && $0.token == "7" && $0.user == 0 })
        // Without luod, the report has no such column.
        let without = try await luoctl("hugepages", "--state", "/nowhere")
        #expect(without.status == 0 && !without.output.contains("guest token 7"))
        withExtendedLifetime(session) {}
    }

    @Test("Without rights it shows the visible part, and says what is missing", .requiresRoot)
    func unprivileged() async throws {
        let ended = try await luoctlAsNobody(["hugepages"])
        #expect(ended.status == 0, "\(ended)")
        #expect(ended.output.contains("persistent"))
        #expect(ended.output.contains("processes that only root may look at"))
        #expect(ended.errors.isEmpty)
    }
}

/// `luoctl hugepages reserve` and `release`.
@Suite struct ResizeTests {
    private struct Change: Decodable {
        let version: Int
        let action: String
        let asked, count: UInt64
        let dryRun: Bool
        let becomingSurplus: UInt64?
        let before: PoolsJSON.Pool.Counts
        let after: PoolsJSON.Pool.Counts?
    }

    private let ledger = PoolLedger()

    private func pool() throws -> HugePagePool { try HugePagePool(.huge2M) }

    private func note(_ change: Change) {
        guard !change.dryRun, let action = HugePageRequest.Action(rawValue: change.action) else { return }
        ledger.note(action, change.count)
    }

    private func change(_ action: String, _ count: UInt64, _ more: String...) async throws -> Change {
        let ended = try await run(
            [Program.path("luoctl"), "hugepages", action, "--size", "2M", "--count", "\(count)", "--json"] + more)
        #expect(ended.status == 0, "\(ended)")
        let change = try ended.json(Change.self)
        note(change)
        return change
    }

    private func expectRefused(_ status: CInt, _ message: String, _ arguments: [String]) async throws {
        let before = try pool()
        let ended = try await run([Program.path("luoctl"), "hugepages"] + arguments)
        if ended.status == 0, let action = HugePageRequest.Action(rawValue: arguments[0]) {
            ledger.note(action, UInt64(arguments[4]) ?? 0)
        }
        #expect(ended.status == status, "\(ended)")
        #expect(ended.errors.contains(message), "\(ended)")
        #expect(ended.output.isEmpty)
        #expect(try pool() == before)
    }

    @Test(.requiresPoolRights(), arguments: [[], ["--node", "0"]]) func andBack(node: [String]) async throws {
        let before = try pool()
        let options = ["--size", "2M", "--count", "3"] + node
        let made = try await run([Program.path("luoctl"), "hugepages", "reserve"] + options)
        #expect(made.status == 0, "\(made)")
        ledger.note(.reserve, 3)
        #expect(try pool().persistent == before.persistent + 3)
        #expect(made.output.contains("reserved 3 pages of 2M (6 MiB)"))
        #expect(
            made.lines.contains { line in
                let words = line.split(separator: " ").map(String.init)
                return words == ["persistent", "\(before.persistent)", "→", "\(before.persistent + 3)"]
            })
        let gone = try await run([Program.path("luoctl"), "hugepages", "release"] + options)
        #expect(gone.status == 0, "\(gone)")
        ledger.note(.release, 3)
        #expect(gone.output.contains("released 3 pages of 2M (6 MiB)"))
        #expect(try pool() == before)
    }

    @Test(.requiresPoolRights()) func aDryRunChangesNothing() async throws {
        let before = try pool()
        let plan = try await change("reserve", 3, "--dry-run")
        #expect(plan.dryRun)
        #expect(plan.count == 3)
        #expect(plan.after == nil)
        #expect(try pool() == before)
        let text = try await luoctl("hugepages", "reserve", "--size", "2M", "--count", "3", "--dry-run")
        #expect(text.output.contains("would reserve 3 pages of 2M (6 MiB): "))
        #expect(text.output.contains("nothing was changed"))
    }

    @Test("Many requests at once: none is lost", .requiresPoolRights()) func atOnce() async throws {
        let before = try pool()
        func all(_ action: String) async throws -> [Change] {
            let arguments = ["hugepages", action, "--size", "2M", "--count", "2", "--json"]
            let programs = try (0..<6).map { _ in try Program([Program.path("luoctl")] + arguments) }
            var changes: [Change] = []
            for program in programs {
                let ended = try await program.ended()
                #expect(ended.status == 0, "\(ended)")
                changes.append(try ended.json(Change.self))
                note(changes[changes.count - 1])
            }
            return changes
        }
        let made = try await all("reserve")
        #expect(Set(made.map(\.before.persistent)).count == 6, "they took turns")
        #expect(made.allSatisfy { $0.after?.persistent == $0.before.persistent + 2 })
        #expect(try pool().persistent == before.persistent + 12)
        _ = try await all("release")
        #expect(try pool() == before)
    }

    @Test("luoctl waits for a process that has the lock of the pool", .requiresPoolRights()) func lock() async throws {
        let before = try pool()
        let number = unsafe open("/run/lock/liveupdate-hugepages.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        let lock = OwnedDescriptor(taking: FileDescriptor(rawValue: number))
        #expect(flock(lock.borrowed.rawValue, LOCK_EX) == 0)
        let program = try Program([Program.path("luoctl"), "hugepages", "reserve", "--size", "2M", "--count", "1"])
        try await eventually("waiting for the lock", within: 20) { try isWaiting(program.process, lock.borrowed) }
        #expect(program.hasEnded == false)
        #expect(try pool() == before)
        flock(lock.borrowed.rawValue, LOCK_UN)
        #expect(try await program.ended().status == 0)
        ledger.note(.reserve, 1)
        #expect(try pool().persistent == before.persistent + 1)
        _ = try await change("release", 1)
        #expect(try pool() == before)
    }

    /// Whether a process waits for a lock. /proc/locks marks a waiting process with an arrow.
    private func isWaiting(_ process: pid_t, _ file: FileDescriptor) throws -> Bool {
        try String(contentsOfFile: "/proc/locks", encoding: .utf8).split(separator: "\n").contains { line in
            line.contains("->") && line.split(separator: " ").contains { $0 == "\(process)" }
        }
    }

    @Test(
        "A reserve that is interrupted at any moment has reserved all or nothing", .requiresPoolRights(),
        arguments: [SIGINT, SIGTERM])
    func interrupted(signal: CInt) async throws {
        let before = try pool()
        var generator = SeededGenerator(seed: announcedSeed("interrupted reserve"))
        for _ in 0..<Scale.count(8) {
            let program = try Program([
                Program.path("luoctl"), "hugepages", "reserve", "--size", "2M", "--count", "300",
            ])
            try await Task.sleep(for: .milliseconds(Int.random(in: 0...60, using: &generator)))
            kill(program.process, signal)
            let ended = try await program.ended()
            let taken = try pool().persistent - before.persistent
            // The program ended before it began, after it was done, or while it changed the pool.
            #expect([0, nil, 128 + signal].contains(ended.status), "\(ended)")
            #expect(taken == 300 ? ended.status != 128 + signal : taken == 0 && ended.status != 0, "\(ended)")
            guard taken == 300 else { continue }
            ledger.note(.reserve, 300)
            _ = try await change("release", 300)
        }
        #expect(try pool() == before)
    }

    @Test(.requiresPoolRights()) func pagesInUseStayUnlessForced() async throws {
        let taken = try EmptyPool()
        let before = try pool()
        _ = try await change("reserve", 2)
        do {
            let file = try makeMemoryFile(named: "in use", size: PageSize.huge2M.bytes, pageSize: .huge2M)
            try file.borrowed.allocate(offset: 0, length: PageSize.huge2M.bytes)
            let arguments = ["release", "--size", "2M", "--count", "2"]
            try await expectRefused(69, "1 of the 2 pages are in use or promised", arguments)
            try await expectRefused(69, "--force", arguments + ["--dry-run"])
            #expect(try await change("release", 2, "--force", "--dry-run").becomingSurplus == 1)
            let ended = try await run([Program.path("luoctl"), "hugepages"] + arguments + ["--force"])
            #expect(ended.status == 0, "\(ended)")
            ledger.note(.release, 2)
            #expect(ended.errors.contains("1 of them are in use or promised: they become surplus"))
            #expect(try pool().surplus == before.surplus + 1)
            _ = try FileStatus(of: file.borrowed)
        }
        // A process that is just starting has a copy of each descriptor for a moment.
        try await eventually("a pool as before", within: 10) { try pool() == before }
        withExtendedLifetime(taken) {}
    }

    @Test(.requiresPoolRights()) func whatCannotBeDone() async throws {
        let persistent = try pool().persistent
        let many = "\(persistent + 1)"
        try await expectRefused(
            69, "the pool has \(persistent) persistent pages", ["release", "--size", "2M", "--count", many])
        try await expectRefused(
            69, "there is memory for", ["reserve", "--size", "2M", "--count", "18446744073709551615"])
        try await expectRefused(69, "left to others", ["reserve", "--size", "1G", "--count", "100000"])
        try await expectRefused(69, "no node 999", ["reserve", "--size", "2M", "--count", "1", "--node", "999"])
        try await expectRefused(
            69, "hugepagesz=16M hugepages=4 on the kernel's command line", ["reserve", "--size", "16M", "--count", "4"])
    }

    @Test(
        "Without rights it says what to do, and does nothing else", .requiresRoot, .requiresHugePages(1),
        arguments: ["reserve", "release"])
    func unprivileged(_ action: String) async throws {
        for more in [[], ["--dry-run"]] {
            let ended = try await luoctlAsNobody(["hugepages", action, "--size", "2M", "--count", "1"] + more)
            #expect(ended.status == 77, "\(ended)")
            #expect(ended.errors.contains("only root may change the pools: sudo luoctl hugepages \(action)"))
            #expect(ended.output.isEmpty)
        }
    }

    @Test(arguments: [
        (["reserve"], "--size"), (["reserve", "--size", "2M"], "--count"), (["reserve", "--count", "1"], "--size"),
        (["reserve", "--size", "2M", "--count", "0"], "1 at least"),
        (["reserve", "--size", "2M", "--count", "-1"], "--count"),
        (["reserve", "--size", "2M", "--count", "x"], "--count"),
        (["reserve", "--size", "3M", "--count", "1"], "is no size of huge pages"),
        (["reserve", "--size", "4K", "--count", "1"], "is no size of huge pages"),
        (["reserve", "--size", "x", "--count", "1"], "is no size"),
        (["reserve", "--size", "2M", "--count", "1", "--force"], "--force"),
        (["release", "--size", "2M", "--count", "1", "--best-effort"], "--best-effort"),
        (["release", "--size", "2M", "--count", "1", "--node", "-1"], "--node"), (["dance"], "dance"),
    ])
    func wrongArguments(_ arguments: [String], _ message: String) async throws {
        let ended = try await run([Program.path("luoctl"), "hugepages"] + arguments)
        #expect(ended.status == 64, "\(ended)")
        #expect(ended.errors.contains(message), "\(ended)")
        #expect(ended.output.isEmpty)
    }
}

// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// `luoctl check` on real files and processes.
@Suite struct CheckTests {
    private struct Report: Decodable {
        struct Reason: Decodable, Equatable {
            let handler, reason: String
        }
        struct File: Decodable {
            let fd: CInt?
            let sameFileAs: CInt?
            let name, type: String
            let isMemory: Bool
            let inode, size: UInt64
            let pageSize, dataBytes, holeBytes: UInt64?
            let extents, hugePages: Int?
            let seals: [String]?
            let accepted: Bool
            let handler: String?
            let flbs: [String]?
            let nanoseconds: UInt64?
            let runs: Int?
            let arenaBytes, journalBytes: UInt64?
            let errno: CInt?
            let reasons: [Reason]?
            let remedy: String?
        }
        let version: Int
        let target: String
        let accepted: Bool
        let files: [File]
    }

    private func check(
        _ target: String, inheriting: FileDescriptor? = nil, status: CInt = 0
    ) async throws -> Report {
        let ended = try await run([Program.path("luoctl"), "check", target, "--json"], inheriting: inheriting)
        #expect(ended.status == status, "\(ended)")
        let report = try ended.json(Report.self)
        #expect(report.version == 1)
        #expect(report.accepted == (status == 0))
        return report
    }

    private func path(_ file: borrowing OwnedDescriptor) -> String { "/proc/\(getpid())/fd/\(file.borrowed.rawValue)" }

    /// All visible state of a file.
    private struct Snapshot: Equatable {
        let bytes: [UInt8]
        let size, allocated: UInt64
        let position: Int64
        let seals: Seals

        init(_ file: FileDescriptor, bytes: [UInt8] = []) throws {
            self.bytes = bytes
            let status = try FileStatus(of: file)
            size = status.size
            allocated = status.allocated
            position = try file.position()
            seals = try file.seals()
        }
    }

    // MARK: One file

    @Test("A descriptor, a path, and a descriptor as fd:N: nothing is changed")
    func memoryFile() async throws {
        let file = try makeMemoryFile(named: "checked", size: 1 << 20)
        try file.borrowed.writeAll(toAbsoluteOffset: 8192, [1, 2, 3])
        try file.borrowed.setPosition(77)
        try file.borrowed.addSeals([.grow, .shrink])
        let before = try Snapshot(file.borrowed, bytes: try contents(file.borrowed))
        let reports = [
            try await check("3", inheriting: file.borrowed), try await check("fd:3", inheriting: file.borrowed),
            try await check(path(file)),
        ]
        #expect(reports.map(\.target) == ["fd:3", "fd:3", path(file)])
        for report in reports {
            let found = try #require(report.files.first)
            #expect(report.files.count == 1)
            #expect(found.accepted && found.isMemory)
            #expect(found.handler == "memfd-extents-v1")
            #expect(found.flbs == [])
            #expect(found.inode == (try FileStatus(of: file.borrowed).identity.inode))
            #expect(found.size == 1 << 20)
            #expect(found.pageSize == PageSize.base.bytes)
            #expect(found.dataBytes == 4096)
            #expect(found.holeBytes == (1 << 20) - 4096)
            #expect(found.extents == 1)
            #expect(found.seals == ["shrink", "grow"])
            // The record has 40 bytes and the extent 16. Each takes a block of 64.
            #expect(found.arenaBytes == 128)
            #expect(try #require(found.journalBytes) > 0)
            #expect(found.runs == 5)
            #expect(try #require(found.nanoseconds) > 0)
        }
        #expect(try Snapshot(file.borrowed, bytes: try contents(file.borrowed)) == before)
    }

    private func contents(_ file: FileDescriptor) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 9, count: 16384)
        _ = try unsafe bytes.withUnsafeMutableBytes { try unsafe file.read(fromAbsoluteOffset: 0, into: $0) }
        return bytes
    }

    @Test(.requiresHugePages(3)) func hugePages() async throws {
        let page = PageSize.huge2M.bytes
        let file = try makeMemoryFile(named: "huge", size: 5 * page, pageSize: .huge2M)
        try file.borrowed.allocate(offset: 0, length: page)
        try file.borrowed.allocate(offset: 3 * page, length: 2 * page)
        let (before, pool) = (try Snapshot(file.borrowed), try HugePagePool(.huge2M))
        let found = try #require(try await check(path(file)).files.first)
        #expect(found.handler == "huge-memfd-v1")
        #expect(found.flbs == ["hugetlb-v1"])
        #expect(found.pageSize == page)
        #expect(found.hugePages == 3)
        #expect(found.dataBytes == 3 * page)
        #expect(found.holeBytes == 2 * page)
        #expect(try #require(found.arenaBytes) % 64 == 0)
        #expect(try Snapshot(file.borrowed) == before)
        #expect(try HugePagePool(.huge2M) == pool)
        let text = try await luoctl("check", path(file))
        #expect(text.status == 0)
        #expect(text.output.contains("huge-memfd-v1"))
        #expect(text.output.contains("hugetlb-v1"))
        #expect(text.output.contains("6 MiB, 3 huge pages"))
        #expect(text.output.contains("the median of 5 runs, measured now"))
    }

    @Test(.requiresRoot, .requiresHugePages(2)) func aFileWithANameOnHugetlbfs() async throws {
        let mount = try HugetlbfsMount()
        let file = try mount.makeFile("guest", pages: 2)
        let found = try #require(try await check("\(mount.path)/guest").files.first)
        #expect(found.handler == "hugetlbfs-file-v1")
        #expect(found.hugePages == 2)
        #expect(try FileStatus(of: file.borrowed).size == 2 * PageSize.huge2M.bytes)
    }

    @Test(
        "A refused file gets each handler's reason, and a remedy",
        arguments: [
            ("/etc/passwd", "regular", "open it again by its name"), ("/", "directory", "open it again by its name"),
            ("/dev/null", "characterDevice", "open it again by its name"),
        ])
    func notAccepted(_ path: String, _ type: String, _ remedy: String) async throws {
        let found = try #require(try await check(path, status: 1).files.first)
        #expect(found.accepted == false)
        #expect(found.isMemory == false)
        #expect(found.type == type)
        #expect(found.name == path)
        #expect(found.errno == Errno.noSuchFileOrDirectory.rawValue)
        #expect(found.reasons?.map(\.handler).contains("memfd-extents-v1") == true)
        #expect(found.reasons?.allSatisfy { !$0.reason.isEmpty } == true)
        #expect(found.remedy?.contains(remedy) == true)
        let text = try await luoctl("check", path)
        #expect(text.status == 1)
        #expect(text.output.contains("\(path): would not be preserved"))
        #expect(text.output.contains("remedy: "))
    }

    @Test func aNamedFileOfTmpfs() async throws {
        let name = "/dev/shm/check-\(UUID().uuidString)"
        #expect(FileManager.default.createFile(atPath: name, contents: Data([1])))
        defer { try? FileManager.default.removeItem(atPath: name) }
        let found = try #require(try await check(name, status: 1).files.first)
        #expect(found.reasons?.first?.reason.contains("a file of tmpfs that has a name") == true)
    }

    @Test("A named pipe is not opened, because the open would wait forever") func namedPipe() async throws {
        let name = "/tmp/check-\(UUID().uuidString)"
        try #require(unsafe mkfifo(name, 0o600) == 0)
        defer { try? FileManager.default.removeItem(atPath: name) }
        #expect(try await check(name, status: 1).files.first?.type == "pipe")
    }

    @Test("A huge file that is open for writing only", .requiresHugePages(1)) func aHugeFileToBeWritten() async throws {
        let made = try makeMemoryFile(named: "write-only", size: PageSize.huge2M.bytes, pageSize: .huge2M)
        let file = try made.borrowed.reopened(OpenMode(flags: O_WRONLY))
        let found = try #require(try await check("fd:3", inheriting: file.borrowed).files.first)
        #expect(found.isMemory)
        #expect(found.accepted)
    }

    @Test("A descriptor that only names a memory file (O_PATH)") func aDescriptorThatOnlyNames() async throws {
        let made = try makeMemoryFile(named: "named only", size: 4096)
        let file = try made.borrowed.openedAsPath()
        let found = try #require(try await check("fd:3", inheriting: file.borrowed, status: 1).files.first)
        #expect(found.isMemory)
        #expect(found.reasons?.contains { $0.reason.contains("Bad file descriptor") } == true)
    }

    @Test func wrongTargets() async throws {
        for (target, status, message): (String, CInt, String) in [
            ("", 64, "an empty path"), ("pid:x", 64, "no number of a process"), ("fd:-1", 64, "no number of"),
            ("pid:0", 64, "no number"), ("99999999999", 64, "./99999999999"), ("fd:", 64, "no number"),
            ("/nonexistent", 69, "/nonexistent cannot be opened"), ("fd:900", 69, "descriptor 900"),
            ("4194304", 69, "there is no process 4194304"), ("pid:4194304", 69, "there is no process"),
        ] {
            let ended = try await luoctl("check", target)
            #expect(ended.status == status, "\(target): \(ended)")
            #expect(ended.errors.contains(message), "\(target): \(ended)")
            #expect(ended.output.isEmpty)
        }
    }

    // MARK: A process

    /// A process with a memory file as descriptor 3, in addition to its standard descriptors.
    private func holder(_ file: borrowing OwnedDescriptor, _ script: String = "exec sleep 600") async throws -> Program
    {
        let program = try Program(["/bin/sh", "-c", script], inheriting: file.borrowed)
        try await eventually("sleep", within: 10) {
            try String(contentsOfFile: "/proc/\(program.process)/comm", encoding: .utf8) == "sleep\n"
        }
        return program
    }

    @Test("All descriptors of a process, which goes on") func process() async throws {
        let file = try makeMemoryFile(named: "of another", size: 8192)
        try file.borrowed.setPosition(5)
        let program = try await holder(file, "exec 4>&3 5</etc/passwd 6</dev/null; exec sleep 600")
        let before = try Snapshot(file.borrowed)
        let report = try await check("\(program.process)")
        #expect(report.target == "pid:\(program.process)")
        let three = try #require(report.files.first { $0.fd == 3 })
        #expect(three.accepted)
        #expect(three.name == "/memfd:of another (deleted)")
        #expect(three.sameFileAs == nil)
        #expect(report.files.first { $0.fd == 4 }?.sameFileAs == 3)
        #expect(report.files.first { $0.fd == 5 }?.accepted == false)
        #expect(report.files.first { $0.fd == 6 }?.type == "characterDevice")
        #expect(try Snapshot(file.borrowed) == before)
        #expect(program.hasEnded == false)

        let text = try await luoctl("check", "pid:\(program.process)")
        #expect(text.status == 0, "\(text)")
        #expect(text.output.contains("descriptors of memory files would be preserved"))
        #expect(text.lines.contains { $0.hasSuffix("the same as fd 3") })
        #expect(text.output.contains("1 devices, 1 files with a name"))
        #expect(text.output.contains("would not be preserved") == false)
        let all = try await luoctl("check", "pid:\(program.process)", "--all")
        #expect(all.output.contains("fd 5 (/etc/passwd): would not be preserved"))
        withExtendedLifetime(program) {}
    }

    /// The program opens a file and maps it. The close of a descriptor would wait for the file system.
    private static let opening = """
        import ctypes, os, sys, time
        libc = ctypes.CDLL(None)
        libc.mmap.restype = ctypes.c_void_p
        file = os.open(sys.argv[1], os.O_RDWR)
        address = libc.mmap(None, ctypes.c_size_t(4096), 1, 1, file, ctypes.c_long(0))
        print("ready", file, hex(address), flush=True)
        time.sleep(600)
        """

    @Test(
        "A file of a file system that does not answer is named, and not looked at", .requiresRoot,
        .enabled(if: StuckFileSystem.isMissing == nil))
    func stuckFile() async throws {
        let system = try StuckFileSystem()
        defer { system.end() }
        let program = try Program(["/usr/bin/env", "python3", "-c", Self.opening, system.path])
        try await eventually("the file", within: 30) { try program.outputSoFar.contains("ready") }
        let words = try program.outputSoFar.split(whereSeparator: \.isWhitespace).map(String.init)
        let before = (system.count(.getattr), system.count(.flush), system.count(.statfs))
        let ended = try await luoctl("check", "pid:\(program.process)")
        #expect(ended.status == 0, "the memory files of its output are accepted: \(ended)")
        for place in words.dropFirst() {
            let line = ended.lines.first { $0.hasPrefix("fd \(place) (") || $0.hasPrefix("\(place) (") }
            #expect(line?.contains("its file system may not answer, so luoctl does not look at it") == true, "\(ended)")
        }
        #expect(before == (system.count(.getattr), system.count(.flush), system.count(.statfs)))
        system.end()
        kill(program.process, SIGKILL)
        _ = try await program.ended()
    }

    @Test func aProcessWithoutMemoryFiles() async throws {
        let file = try makeMemoryFile(named: "closed", size: 4096)
        let program = try await holder(file, "exec sleep 600 </dev/null >/dev/null 2>&1 3>&-")
        let ended = try await luoctl("check", "\(program.process)")
        #expect(ended.status == 1, "\(ended)")
        #expect(ended.output.contains("none of 3 descriptors is of a memory file"))
        withExtendedLifetime(program) {}
    }

    @Test("One refused memory file of a process fails the check")
    func aProcessWithAFileThatIsRefused() async throws {
        let made = try makeMemoryFile(named: "named only", size: 4096)
        let program = try await holder(try made.borrowed.openedAsPath())
        let ended = try await luoctl("check", "\(program.process)")
        #expect(ended.status == 1, "\(ended)")
        #expect(ended.output.contains("1 of 4 descriptors of memory files would NOT be preserved"))
        #expect(ended.output.contains("fd 3 (/memfd:named only (deleted)): would not be preserved"))
        #expect(ended.output.contains("Bad file descriptor"))
        withExtendedLifetime(program) {}
    }

    @Test("Without rights the exit code is 77, with a remedy", .requiresRoot) func unprivileged() async throws {
        let file = try makeMemoryFile(named: "of root", size: 4096)
        for target in ["\(getpid())", path(file), "/root/nothing"] {
            let ended = try await luoctlAsNobody(["check", target])
            #expect(ended.status == 77, "\(target): \(ended)")
            #expect(ended.errors.contains("as root"), "\(ended)")
            #expect(ended.output.isEmpty)
        }
    }

    @Test("A user may check a process of the same user", .requiresRoot) func unprivilegedAndAllowed() async throws {
        let ended = try await luoctlAsNobody(["check", "fd:1"])
        // The program's output is a memory file of the tests.
        #expect(ended.status == 0, "\(ended)")
        #expect(ended.output.contains("memfd-extents-v1"))
    }
}

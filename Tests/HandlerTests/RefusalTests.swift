// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdateHandlers
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// A file of another kind is refused, with a message that gives the reason.
@Suite struct RefusalTests {
    private let machine: Machine
    private let session: Session

    init() throws {
        machine = try Machine()
        session = try machine.standardBoot().orchestrator.createSession("s")
    }

    private func opened(_ number: CInt) throws -> TestFile {
        guard number >= 0 else { throw SystemCallError("open", Errno(rawValue: Glibc.errno)) }
        return TestFile(taking: FileDescriptor(rawValue: number))
    }

    private func expectRefused(_ file: TestFile, _ reasons: String...) throws {
        let error = try #require(failure { try session.preserve(file.descriptor, token: 1) })
        #expect(error.errno == .noSuchFileOrDirectory)
        for reason in reasons { #expect(error.reason.contains(reason)) }
        // Both handlers have given a reason, and no file is held.
        #expect(error.reason.contains("memfd-extents-v1: "))
        #expect(error.reason.contains("huge-memfd-v1: "))
        #expect(session.tokens.isEmpty)
        #expect(machine.descriptors.held.isEmpty)
    }

    @Test func aPipe() throws {
        var ends: [CInt] = [-1, -1]
        unsafe pipe(&ends)
        let (input, output) = (try opened(ends[0]), try opened(ends[1]))
        try expectRefused(input, "not a memory file")
        try expectRefused(output, "not a memory file")
    }

    @Test func aSocket() throws {
        try expectRefused(try opened(socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0)), "not a memory file")
    }

    @Test func aFileOnDisk() throws {
        try expectRefused(try opened(unsafe open("/etc/passwd", O_RDONLY)), "not a memory file")
    }

    @Test func aDirectory() throws {
        try expectRefused(try opened(unsafe open("/", O_RDONLY)), "not a memory file")
    }

    @Test func aDirectoryOfTmpfs() throws {
        try expectRefused(try opened(unsafe open("/dev/shm", O_RDONLY)), "not a memory file")
    }

    @Test(
        "A file of a stuck file system is refused, or held, without a request to it",
        .enabled(if: StuckFileSystem.isMissing == nil))
    func unansweringFileSystem() throws {
        let system = try StuckFileSystem()
        let file = try system.open()
        defer {
            system.end()
            try? closeDescriptor(file)
        }
        let handlers: [any FileHandler] = [
            MemfdHandler(), HugeMemfdHandler(), HugetlbfsFileHandler(),
        ]
        for handler in handlers {
            guard case .refused = handler.canPreserve(file) else {
                Issue.record("\(handler.compatible) accepts a file of FUSE")
                continue
            }
        }
        let held = HeldFileHandler()
        let identity = held.identity(of: file)
        #expect(identity?.inode == 2)
        #expect(identity.flatMap { held.recognizes(file, as: $0) } == true)
        #expect(system.count(.getattr) == 0)
        #expect(system.count(.statfs) == 0)
    }

    @Test func aDevice() throws {
        try expectRefused(try opened(unsafe open("/dev/null", O_RDWR)), "not")
    }

    @Test func anEventCounter() throws {
        // Swift's Glibc module does not have eventfd(2).
        typealias Function = @convention(c) (CUnsignedInt, CInt) -> CInt
        let eventfd = unsafe unsafeBitCast(try #require(unsafe dlsym(nil, "eventfd")), to: Function.self)
        try expectRefused(try opened(eventfd(0, 0)), "not a memory file")
    }

    @Test("A file of tmpfs with a name is refused; without a name it is a memory file")
    func tmpfs() throws {
        let directory = try TemporaryDirectory()
        let file = try opened(unsafe open(directory.file("file"), O_RDWR | O_CREAT | O_CLOEXEC, 0o600))
        try expectRefused(file, "has a name", "open it again by path")
        unsafe unlink(directory.file("file"))
        try session.preserve(file.descriptor, token: 1)
    }

    @Test("A descriptor that only names a file (O_PATH) is refused")
    func pathOnly() throws {
        let memory = try TestFile(size: 4096)
        let pathFlag: CInt = 0o10000000
        try expectRefused(try TestFile(reopening: memory, pathFlag), "Bad file descriptor")
    }

    @Test func badDescriptors() throws {
        for number in [-1, 1 << 20, CInt.max] as [CInt] {
            let error = failure { try session.preserve(FileDescriptor(rawValue: number), token: 1) }
            #expect(error?.errno == .badFileDescriptor)
            #expect(error?.reason.contains("\(number)") == true)
        }
        #expect(machine.descriptors.held.isEmpty)
    }
}

// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// Files that this process cannot reach by their name, or cannot open in the same mode.
@Suite(.requiresRoot) struct ReachTests {
    @Test("A file opened in another mount namespace is refused by preserve", .requiresHugePages(4))
    func anotherNamespace() async {
        await #expect(processExitsWith: .success) {
            let made = Guarded<TestFile?>(nil)
            let isDone = Guarded(false)
            let other = Threads.start {
                made.with { $0 = try? Hugetlbfs().make().file }
                while !isDone.with({ $0 }) { sleep(milliseconds: 1) }
            }
            defer {
                isDone.with { $0 = true }
                other.join()
            }
            while made.with({ $0 }) == nil { sleep(milliseconds: 1) }
            let file = try #require(made.with { $0 })
            let machine = try Machine()
            let boot = try machine.standardBoot()
            let error = failure { try boot.preserve(file) }
            #expect(error?.errno == .noSuchFileOrDirectory)
            #expect(error?.reason.contains("there is no /mnt/huge/guest, nor hugetlbfs where it was") == true)
            #expect(error?.remedy?.contains("opened in another mount namespace") == true)
            #expect(machine.descriptors.held.isEmpty)
            #expect(try boot.orchestrator.status().flbs.isEmpty)
        }
    }

    @Test(
        "A path that leads to a stuck file system here makes no request to it", .requiresHugePages(4),
        .enabled(if: StuckFileSystem.isMissing == nil))
    func stuckFileSystem() async {
        await #expect(processExitsWith: .success) {
            let system = try StuckFileSystem()
            defer { system.end() }
            let made = Guarded<TestFile?>(nil)
            let path = StuckFileSystem.point.appending("file")
            let isDone = Guarded(false)
            // The mount namespace of the thread ends with the thread.
            let other = Threads.start {
                if (try? MountNamespace.enter()) != nil,
                    (try? MountNamespace.mount("hugetlbfs", at: StuckFileSystem.point, "pagesize=2M")) != nil
                {
                    made.with { $0 = try? TestFile(opening: path, O_RDWR | O_CREAT) }
                }
                while !isDone.with({ $0 }) { sleep(milliseconds: 1) }
            }
            defer {
                isDone.with { $0 = true }
                other.join()
            }
            while made.with({ $0 }) == nil { sleep(milliseconds: 1) }
            let file = try #require(made.with { $0 })
            try file.descriptor.setSize(1 << 21)
            let machine = try Machine()
            try system.joinNamespace()
            let error = failure { try machine.standardBoot().preserve(file) }
            #expect(error?.errno == .staleNFSFileHandle)
            #expect(error?.reason.contains("its path does not lead to it in this mount namespace") == true)
            #expect(error?.reason.contains("type fuse is mounted on the way") == true, "\(error as Any)")
            for request in [StuckFileSystem.Request.lookup, .getattr, .statfs] { #expect(system.count(request) == 0) }
            #expect(machine.descriptors.held.isEmpty)
        }
    }

    @Test("Threads in mount namespaces of their own preserve with one handler", .requiresHugePages(4))
    func namespacesInTurn() async {
        await #expect(processExitsWith: .success) {
            let file = try Hugetlbfs().make(pages: [0]).file
            let boot = try Machine().standardBoot()
            let session = try boot.orchestrator.createSession("s")
            try session.preserve(file.descriptor, token: 1)
            let isPreserved = Guarded(false)
            let other = Threads.start {
                // This is another mount of the same path, and the table of the first thread leads to the wrong mount.
                guard let (file, _) = try? Hugetlbfs().make(pages: [0]) else { return }
                let error = failure { try session.preserve(file.descriptor, token: 2) }
                #expect(error == nil)
                isPreserved.with { $0 = error == nil }
            }
            other.join()
            #expect(isPreserved.with { $0 })
            try session.unpreserve(token: 1)
            try session.preserve(file.descriptor, token: 1)
        }
    }

    @Test("A file is refused if its path leads to another file here", .requiresHugePages(4))
    func anotherFileOfThatName() async {
        await #expect(processExitsWith: .success) {
            let (file, path) = try Hugetlbfs().make()
            try MountNamespace.mount("hugetlbfs", at: path.removingLastComponent(), "pagesize=2M")
            let other = try TestFile(opening: path, O_RDWR | O_CREAT)
            let boot = try Machine().standardBoot()
            let error = failure { try boot.preserve(file) }
            #expect(error?.errno == .staleNFSFileHandle)
            #expect(error?.remedy?.contains("open it by a path that leads to it here") == true)
            try boot.orchestrator.createSession("other").preserve(other.descriptor, token: 1)
        }
    }

    /// Preserves a reader and a writer of two files, and lets all processes die.
    private static func preserveBoth(_ hugetlbfs: Hugetlbfs) throws -> Machine {
        let machine = try Machine()
        let session = try machine.standardBoot().orchestrator.createSession("s")
        let reader = try TestFile(opening: try hugetlbfs.make("reader").path, O_RDONLY)
        let writer = try hugetlbfs.make("writer").file
        try session.preserve(reader.descriptor, token: 1)
        try session.preserve(writer.descriptor, token: 2)
        return Machine(survivorOf: machine)
    }

    @Test(
        "A mount that became read-only: the reader comes back, and the writer does not",
        .requiresHugePages(4))
    func readOnlyMount() async {
        await #expect(processExitsWith: .success) {
            let hugetlbfs = try Hugetlbfs()
            let machine = try Self.preserveBoth(hugetlbfs)
            try MountNamespace.makeReadOnly(hugetlbfs.directory)
            let boot = try machine.standardBoot()
            let session = try #require(try boot.orchestrator.openSessions.first)
            let taken = TestFile(try session.get(token: 1))
            #expect(taken.mode == O_RDONLY)
            let error = failure { try session.get(token: 2) }
            #expect(error?.errno == .readOnlyFileSystem)
            #expect(error?.reason.contains("opening \(hugetlbfs.directory)/writer") == true)
            #expect(error?.remedy == "mount the file system for writing")
        }
    }

    @Test("A file on a mount that is read-only from the start comes back", .requiresHugePages(4))
    func readOnlyFromTheStart() async {
        await #expect(processExitsWith: .success) {
            let hugetlbfs = try Hugetlbfs()
            let (_, path) = try hugetlbfs.make()
            try MountNamespace.makeReadOnly(hugetlbfs.directory)
            let file = try TestFile(opening: path, O_RDONLY)
            let machine = try Machine()
            try machine.standardBoot().preserve(file)
            let after = try Machine(survivorOf: machine).standardBoot()
            let session = try #require(try after.orchestrator.openSessions.first)
            let taken = TestFile(try session.get(token: 1))
            #expect(taken.mode == O_RDONLY)
            #expect(try taken.word(page: 2, .huge2M) == TestFile.word(of: 2))
        }
    }

    @Test("A process that has lost the right to reach the file gets EACCES", .requiresHugePages(4))
    func withoutTheRight() async {
        await #expect(processExitsWith: .success) {
            let (file, path) = try Hugetlbfs().make()
            let machine = try Machine()
            try machine.standardBoot().preserve(file)
            _ = unsafe path.withPlatformString { unsafe chmod($0, 0) }
            // From here on this process runs as user 65534.
            #expect(setgid(65534) == 0 && setuid(65534) == 0)
            let after = try Machine(survivorOf: machine).standardBoot()
            let session = try #require(try after.orchestrator.openSessions.first)
            let error = failure { try session.get(token: 1) }
            #expect(error?.errno == .permissionDenied)
            #expect(error?.remedy?.contains("permissions") == true)
        }
    }
}

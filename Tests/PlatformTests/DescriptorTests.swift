// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@Suite struct DescriptorTests {
    private func isCloseOnExec(_ descriptor: FileDescriptor) -> Bool {
        (try? String(contentsOfInfo: descriptor))?.contains("flags:\t02") == true
    }

    @Test func aCopyHasTheSameOffsetAndANumberOfItsOwn() throws {
        let file = try MemoryFile()
        let copy = try file.descriptor.duplicated(from: 100)
        #expect(copy.borrowed.rawValue >= 100)
        try file.descriptor.setPosition(77)
        #expect(try copy.borrowed.position() == 77)
        #expect(try FileStatus(of: copy.borrowed).identity == file.identity)
    }

    @Test func reopeningGivesAnOffsetOfItsOwn() throws {
        let file = try MemoryFile()
        try file.descriptor.setPosition(77)
        let view = try file.descriptor.reopenedForReading()
        #expect(try view.borrowed.position() == 0)
        #expect(try FileStatus(of: view.borrowed).identity == file.identity)
    }

    /// The directory can belong to a user that leaves a link or a pipe under the temporary name.
    @Test(arguments: [false, true]) func aReplacedFileIsAlwaysANewOne(isPipe: Bool) throws {
        let directory = try TemporaryDirectory()
        let (path, target) = (directory.file("file"), directory.file("target"))
        try replaceFile(target, with: "old")
        if isPipe {
            try #require(unsafe mkfifo(path + ".new", 0o666) == 0)
        } else {
            try #require(unsafe symlink(target, path + ".new") == 0)
        }
        try replaceFile(path, with: "new")
        #expect(try readWhole(path) == "new" && readWhole(target) == "old")
        let status = try FileStatus(at: path, followingLinks: false)
        #expect(status.isRegular && status.permissions == .ownerReadWrite)
        #expect(try directory.names == ["file", "target"])
        #expect(status.modified.map { abs($0 - wallClockNanoseconds()) < 600_000_000_000 } == true)
    }

    @Test func descriptorsAreClosedOnExecUnlessTold() throws {
        let file = try MemoryFile()
        #expect(isCloseOnExec(file.descriptor))
        let copy = try file.duplicate()
        #expect(isCloseOnExec(copy.borrowed))
        try copy.borrowed.setCloseOnExec(false)
        #expect(!isCloseOnExec(copy.borrowed))
        try copy.borrowed.setCloseOnExec(true)
        #expect(isCloseOnExec(copy.borrowed))
    }

    @Test("A lock belongs to the open file description: a copy has it, and a second open does not")
    func locks() throws {
        let file = try MemoryFile()
        try file.descriptor.lockForWriting()
        let copy = try file.duplicate()
        try copy.borrowed.lockForWriting()
        let number = unsafe Glibc.open("/proc/self/fd/\(file.descriptor.rawValue)", O_RDWR | O_CLOEXEC)
        let second = OwnedDescriptor(taking: FileDescriptor(rawValue: number))
        #expect(throws: SystemCallError("fcntl", .resourceTemporarilyUnavailable)) {
            try second.borrowed.lockForWriting()
        }
    }

    @Test func openDescriptorsListsWhatIsOpen() throws {
        let file = try MemoryFile()
        #expect(try openDescriptors().contains(file.descriptor.rawValue))
    }

    @Test func anOwnerThatGaveItAwayClosesNothing() throws {
        let file = try MemoryFile()
        let released = try file.duplicate().release()
        #expect(try FileStatus(of: released).identity == file.identity)
        try closeDescriptor(released)
    }

    @Test func sealsAreAddedAndShown() throws {
        let file = try MemoryFile()
        #expect(try file.descriptor.seals() == [])
        try file.descriptor.addSeals([.shrink, .grow])
        #expect(try file.descriptor.seals() == [.shrink, .grow])
        #expect(throws: SystemCallError("ftruncate", .notPermitted)) { try file.descriptor.setSize(1) }
        try file.descriptor.addSeals(.seal)
        #expect(throws: SystemCallError("fcntl", .notPermitted)) { try file.descriptor.addSeals(.write) }
    }

    @Test func memoryFilesAreOnTmpfs() throws {
        let file = try MemoryFile(size: 12345)
        #expect(try FileSystemKind(of: file.descriptor) == .tmpfs)
        let status = try FileStatus(of: file.descriptor)
        #expect(status.size == 12345 && status.links == 0 && status.isRegular)
    }
}

extension String {
    /// Reads the kernel's information about a descriptor: proc(5), fdinfo.
    fileprivate init(contentsOfInfo descriptor: FileDescriptor) throws {
        let file = try openFile("/proc/self/fdinfo/\(descriptor.rawValue)")
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = try unsafe bytes.withUnsafeMutableBytes { try unsafe file.borrowed.read(into: $0) }
        self.init(decoding: bytes.prefix(count), as: UTF8.self)
    }
}

import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import Platform

@Suite struct RunningProcessTests {
    @Test func descriptorsOfAnotherAreDuplicated() throws {
        let file = try MemoryFile("lent", bytes: [1, 2, 3])
        let image = ProgramImage(path: "/bin/sleep", arguments: ["sleep", "600"])
        let child = try ChildProcess.start(image, inherited: [file.descriptor])
        defer {
            child.kill()
            child.finish()
        }
        let process = try RunningProcess(child.id)
        let number = file.descriptor.rawValue
        #expect(try process.descriptors.contains(number))
        let copy = try process.duplicate(number)
        #expect(try FileStatus(of: copy.borrowed).identity == file.identity)
        #expect(copy.borrowed.isInherited == false, "closed on exec")
        #expect(throws: SystemCallError("pidfd_getfd", .badFileDescriptor)) { try process.duplicate(9999).release() }
    }

    @Test func whoHasEndedIsNobodyElse() throws {
        let child = try ChildProcess.start(ProgramImage(path: "/bin/true", arguments: ["true"]))
        let process = try RunningProcess(child.id)
        child.finish()
        #expect(throws: SystemCallError("pidfd_getfd", .noSuchProcess)) { try process.duplicate(0).release() }
        #expect(throws: SystemCallError("pidfd_open", .noSuchProcess)) { try RunningProcess(child.id).descriptors }
    }

    @Test func ownName() throws {
        #expect(commandName(of: getpid()).isEmpty == false)
        #expect(commandName(of: -1) == "")
    }

    @Test func devicesAndPipesAreNotOpened() throws {
        let found = try openToLook("/dev/null")
        var byte: UInt8 = 0
        #expect(unsafe read(found.borrowed.rawValue, &byte, 1) == -1)
        #expect(errno == EBADF, "it was only found")
        #expect(try FileStatus(of: found.borrowed).type == .characterDevice)
    }

    @Test func filesAreOpenedForReading() throws {
        let file = try MemoryFile("looked at", bytes: [7])
        let opened = try openToLook("/proc/self/fd/\(file.descriptor.rawValue)")
        #expect(try opened.borrowed.openMode() == OpenMode(flags: O_RDONLY))
        #expect(try FileStatus(of: opened.borrowed).identity == file.identity)
    }
}

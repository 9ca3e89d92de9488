// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// Reading without a mapping, and testing for locks without taking one.
@Suite struct FileBytesTests {
    @Test func aPartOfAFile() throws {
        let file = try MemoryFile(bytes: [UInt8](0..<100))
        #expect(try file.descriptor.bytes(at: 0, count: 100) == [UInt8](0..<100))
        #expect(try file.descriptor.bytes(at: 40, count: 3) == [40, 41, 42])
        #expect(try file.descriptor.bytes(at: 40, count: 0) == [])
        #expect(try file.descriptor.bytes(at: 98, count: 50) == [98, 99], "fewer at its end")
        #expect(try file.descriptor.bytes(at: 1000, count: 5) == [])
        #expect(try file.descriptor.position() == 0, "it moves no offset")
    }

    @Test func anOffsetThatCannotBe() throws {
        let file = try MemoryFile(size: 10)
        let error = #expect(throws: SystemCallError.self) { try file.descriptor.bytes(at: .max, count: 8) }
        #expect(error?.errno == .invalidArgument)
    }

    @Test func locksOfOthers() throws {
        let file = try MemoryFile()
        let other = try file.descriptor.reopenedForReading()
        #expect(try other.borrowed.isLockedByAnother() == false)
        try file.descriptor.lockForWriting()
        #expect(try other.borrowed.isLockedByAnother() == true)
        #expect(try file.descriptor.isLockedByAnother() == false, "its own does not count")
        #expect(try other.borrowed.isLockedByAnother() == true, "asking has not taken it")
    }
}

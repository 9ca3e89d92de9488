// SPDX-License-Identifier: Apache-2.0
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdatePlatform

@Suite struct FileLockTests {
    @Test(
        "Lines of fdinfo",
        arguments: [
            ("lock:\t1: FLOCK  ADVISORY  WRITE 11709 00:01:1540 0 EOF", "flock exclusive"),
            ("lock:\t2: FLOCK  ADVISORY  READ 11709 00:01:1540 0 EOF", "flock shared"),
            ("lock:\t1: OFDLCK ADVISORY  WRITE -1 fe:00:16400559 0 EOF", "ofd write"),
            ("lock:\t1: OFDLCK ADVISORY  READ -1 fe:00:16400559 10 99", "ofd read 10-99"),
            ("lock:\t1: OFDLCK ADVISORY  READ -1 fe:00:16400559 10 EOF", "ofd read 10-"),
            // A lock of a process, a lease, a broken line, and other lines.
            ("lock:\t1: POSIX  ADVISORY  WRITE 11709 00:01:1540 0 EOF", nil),
            ("lock:\t1: LEASE  ACTIVE    WRITE 11709 00:01:1540 0 EOF", nil), ("lock:\t1: FLOCK", nil), ("lock:", nil),
            ("pos:\t0", nil),
        ] as [(String, String?)])
    func lines(_ line: String, _ lock: String?) {
        #expect(FileLock.locks(inInfo: "pos:\t0\n\(line)\nflags:\t02").map(\.description) == (lock.map { [$0] } ?? []))
    }

    @Test("A lock belongs to the description, and so to copies of the descriptor, and to no other") func real() throws {
        let file = try MemoryFile()
        #expect(FileLock.all(of: file.descriptor).isEmpty)
        try #require(flock(file.descriptor.rawValue, LOCK_EX) == 0)
        let copy = try file.descriptor.duplicated()
        #expect(FileLock.all(of: copy.borrowed).map(\.description) == ["flock exclusive"])
        let other = try file.descriptor.reopened(OpenMode(flags: O_RDONLY))
        #expect(FileLock.all(of: other.borrowed).isEmpty)
    }
}

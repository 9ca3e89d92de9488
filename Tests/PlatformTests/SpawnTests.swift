// SPDX-License-Identifier: Apache-2.0
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdatePlatform

/// Starts programs while this process holds descriptors with a stuck close. One test runs at a time, because the tests
/// share the reserved numbers.
@Suite(.serialized, .disabled(if: isThreadSanitized, "ThreadSanitizer takes clone(2) for fork(2)")) struct SpawnTests {
    private func status(_ process: CInt) throws -> CInt {
        let running = try RunningProcess(process)
        let hasEnded = running.waitForEnd(10_000)
        guard hasEnded else {
            running.kill()
            return -1
        }
        var status: CInt = 0
        _ = unsafe waitpid(process, &status, 0)
        return status
    }

    @Test("The program gets the descriptor at its number, and none from 64 on") func inherited() throws {
        try SpawnNumbers.reserve()
        let other = try openFile("/dev/null")
        try other.borrowed.setCloseOnExec(false)
        defer { try? other.borrowed.setCloseOnExec(true) }
        let pipe = try PipeEnds()
        let script = "echo $(ls /proc/self/fd) >&7"
        let image = ProgramImage(path: "/bin/sh", arguments: ["sh", "-c", script], environment: ["PATH=/bin:/usr/bin"])
        let process = try image.spawn(pipe.writing.borrowed, as: 7)
        #expect(try status(process) == 0)
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = unsafe read(pipe.reading.borrowed.rawValue, &bytes, bytes.count)
        let numbers = String(decoding: bytes.prefix(max(count, 0)), as: UTF8.self).split(whereSeparator: \.isWhitespace)
        #expect(numbers.contains("7"))
        #expect(numbers.compactMap { CInt($0) }.allSatisfy { $0 < SpawnNumbers.end })
    }

    @Test("A program that cannot be executed gives an error, and no process") func missing() throws {
        try SpawnNumbers.reserve()
        let image = ProgramImage(path: "/nowhere", arguments: ["nowhere"])
        let null = try openFile("/dev/null")
        #expect(throws: SystemCallError("execve", .noSuchFileOrDirectory)) { try image.spawn(null.borrowed, as: 3) }
    }

    @Test("No reserved number is free afterwards") func neverFree() throws {
        try SpawnNumbers.reserve()
        let null = try openFile("/dev/null")
        let image = ProgramImage(path: "/bin/true", arguments: ["true"])
        let before = SpawnNumbers.numbers
        for _ in 0..<10 { #expect(try status(try image.spawn(null.borrowed, as: 3)) == 0) }
        #expect(SpawnNumbers.numbers == before)
        for number in before { #expect(throws: Never.self) { try FileStatus(of: FileDescriptor(rawValue: number)) } }
    }

    @Test(
        "A program starts although this process holds a file of a stuck file system",
        .enabled(if: StuckFileSystem.isMissing == nil))
    func stuck() throws {
        let system = try StuckFileSystem()
        let null = try openFile("/dev/null")
        // Other tests of this process may have closed descriptors below 64 since the numbers were reserved.
        try SpawnNumbers.reserve()
        let file = try system.open()
        defer {
            system.end()
            try? closeDescriptor(file)
        }
        try #require(file.rawValue >= SpawnNumbers.end)
        let process = try ProgramImage(path: "/bin/true", arguments: ["true"]).spawn(null.borrowed, as: 3)
        #expect(try status(process) == 0)
        #expect(system.count(.flush) == 0)
    }
}

// SPDX-License-Identifier: Apache-2.0
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdatePlatform

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

    @Test(
        "A killed process has ended, although one of its threads waits for a stuck file system",
        .enabled(if: StuckFileSystem.isMissing == nil), arguments: [true, false])
    func stuckThread(closing: Bool) throws {
        let system = try StuckFileSystem()
        let child = try system.startUser(closing: closing)
        defer {
            system.end()
            _ = waitpid(child, nil, 0)
        }
        let process = try RunningProcess(child)
        let before = (process.hasEnded, process.waitForEnd(20))
        #expect(before == (false, false))
        process.kill()
        let hasEnded = process.waitForEnd(10_000)
        #expect(hasEnded)
        #expect(!process.descriptor.isReadable(within: 0), "the thread is still there")
        var unreaped = UnreapedChildren()
        for _ in 0..<2 {
            let early = unreaped.reap(child)
            #expect(early == nil)
        }
        unreaped.reap()
        #expect(unreaped.processes == [child])
        system.end()
        #expect(process.descriptor.isReadable(within: 10_000))
        unreaped.reap()
        #expect(unreaped.processes == [])
    }

    @Test("A child that has ended is reaped at once, with its status") func reaping() throws {
        let child = try ChildProcess.start(ProgramImage(path: "/bin/sh", arguments: ["sh", "-c", "exit 7"]))
        let process = try RunningProcess(child.id)
        // A process that is about to become a zombie has ended, and cannot be reaped yet.
        #expect(process.descriptor.isReadable(within: 10_000))
        let hasEnded = process.hasEnded
        #expect(hasEnded)
        var unreaped = UnreapedChildren()
        let status = unreaped.reap(child.id)
        #expect(status == ExitStatus(status: 7 << 8))
        #expect(status?.description == "exit code 7")
        let again = unreaped.reap(child.id)
        #expect(again == nil, "its number may be that of another process")
        #expect(unreaped.processes == [])
        let isStillEnded = process.hasEnded
        #expect(isStillEnded)
        child.finish()
    }

    @Test func ownName() throws {
        #expect(commandName(of: getpid()).isEmpty == false)
        #expect(commandName(of: -1) == "")
    }

    @Test("The path of the own program has its bytes, without the mark of a removed file") func ownPath() throws {
        #expect(try FileStatus(at: ProgramImage.ownPath().string).isRegular)
        for (target, path) in [("/a b", "/a b"), ("/a (deleted)", "/a"), ("/a (deleted)b", "/a (deleted)b")] {
            #expect(ProgramImage.path(ofTarget: Array(target.utf8)) == FilePath(path))
        }
        let odd: [UInt8] = [0x2F, 0xFF, 0x61]
        #expect(ProgramImage.path(ofTarget: odd).bytes == odd)
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

/// Whether a process has ended, by the states of its threads in /proc.
@Suite struct ThreadStateTests {
    private func line(_ id: Int, _ name: String, _ letter: String, _ flags: Int) -> String {
        "\(id) (\(name)) \(letter) 1 2 3 0 -1 \(flags) 0 0"
    }

    @Test(arguments: [
        ([("R", 0)], false), ([("S", 0)], false), ([("D", 0)], false), ([("Z", 0)], true), ([("X", 0)], true),
        // A dying thread still closes the process's files.
        ([("D", 4)], true), ([("R", 4)], true),
        // The first thread is a zombie, and another one is still there.
        ([("Z", 0), ("D", 0)], true), ([("Z", 0), ("R", 0)], false), ([("Z", 0), ("S", 0)], false),
        ([("Z", 0), ("R", 4), ("D", 0)], true), ([("S", 0), ("Z", 0)], false), ([("D", 0), ("Z", 0)], false),
    ])
    func ended(threads: [(String, Int)], isEnded: Bool) {
        let lines = threads.enumerated().map { line(10 + $0.offset, "a", $0.element.0, $0.element.1) }
        let states = lines.compactMap { ThreadState($0) }
        #expect(states.count == threads.count)
        #expect(ThreadState.isEnded(states, of: 10) == isEnded)
    }

    @Test func names() {
        // U+0600 joins the character behind it, and U+0301 the one before it.
        for name in ["a b", "a) S 1 2", "((", "", ") S \u{600}", "\u{301}"] {
            let state = ThreadState(line(7, name, "Z", 4))
            #expect(state?.id == 7)
            #expect(state?.letter == "Z")
            #expect(state?.isExiting == true)
        }
        for text in ["", "7", "7 (", "7 (a)", "7 (a) S 1", "x (a) S 1 2 3 4 5 6", ")7( S 1 2 3 4 5 6"] {
            #expect(ThreadState(text) == nil)
        }
    }

    @Test func withoutItsFirstThread() {
        #expect(!ThreadState.isEnded([], of: 1))
        #expect(ThreadState.all(of: -1) == nil)
    }
}

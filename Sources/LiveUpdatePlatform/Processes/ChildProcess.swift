// SPDX-License-Identifier: Apache-2.0
import Glibc
package import SystemPackage

/// A program that was started beside this one, with a pipe to its standard input and one from its standard output.
package struct ChildProcess: Sendable {
    /// The number of the process.
    package let id: CInt
    /// Our end of the program's standard input. The program reads the end of the file when this and all copies are
    /// closed.
    package let input: FileDescriptor
    /// Our end of the program's standard output.
    package let output: FileDescriptor

    /// Names a child that was started before this process became another image.
    package init(id: CInt, input: FileDescriptor, output: FileDescriptor) {
        self.id = id
        self.input = input
        self.output = output
    }

    /// Starts a program: posix_spawn(3).
    ///
    /// - Parameters:
    ///   - image: the program to run.
    ///   - inherited: descriptors that the program gets under the same numbers, though they are closed on exec here.
    ///   - standardInput: the program's standard input in place of a pipe.
    ///   - isQuiet: whether the program's messages are thrown away.
    /// - Returns: the process, with our ends of its pipes.
    /// - Throws: EMFILE, ENOENT, EACCES and other errors of execve(2).
    package static func start(
        _ image: ProgramImage, inherited: [FileDescriptor] = [], standardInput: FileDescriptor? = nil,
        isQuiet: Bool = false
    ) throws(SystemCallError) -> ChildProcess {
        let toChild = try PipeEnds()
        let fromChild = try PipeEnds()
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        let reading = standardInput ?? toChild.reading.borrowed
        unsafe posix_spawn_file_actions_adddup2(&actions, reading.rawValue, STDIN_FILENO)
        unsafe posix_spawn_file_actions_adddup2(&actions, fromChild.writing.borrowed.rawValue, STDOUT_FILENO)
        if isQuiet { unsafe posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0) }
        // A descriptor that is duplicated onto itself loses its close-on-exec flag.
        for descriptor in inherited {
            unsafe posix_spawn_file_actions_adddup2(&actions, descriptor.rawValue, descriptor.rawValue)
        }
        var id: pid_t = 0
        let result = unsafe image.withCStrings { path, arguments, environment in
            unsafe posix_spawn(&id, path, &actions, nil, arguments, environment)
        }
        guard result == 0 else { throw SystemCallError("posix_spawn", Errno(rawValue: result)) }
        return ChildProcess(id: id, input: toChild.writing.release(), output: fromChild.reading.release())
    }

    /// The next line that the program prints, without its newline; nil after the last line.
    package func readLine() -> String? {
        var bytes: [UInt8] = []
        var byte: UInt8 = 0
        while unsafe read(output.rawValue, &byte, 1) == 1 {
            if byte == UInt8(ascii: "\n") { return String(decoding: bytes, as: UTF8.self) }
            bytes.append(byte)
        }
        return bytes.isEmpty ? nil : String(decoding: bytes, as: UTF8.self)
    }

    /// Everything that the program prints until the end of its output; nil when that takes longer than the limit.
    package func readOutput(within milliseconds: UInt64) -> String? {
        // A limit of centuries would overflow in nanoseconds.
        let deadline = monotonicNanoseconds() + min(milliseconds, 1 << 40) * 1_000_000
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let now = monotonicNanoseconds()
            var event = pollfd(fd: output.rawValue, events: Int16(POLLIN), revents: 0)
            let left = CInt(clamping: (max(deadline, now) - now) / 1_000_000)
            let ready = unsafe poll(&event, 1, left)
            if ready == -1, errno == EINTR { continue }
            guard ready > 0 else { return nil }
            let count = unsafe read(output.rawValue, &chunk, chunk.count)
            guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
            bytes += chunk.prefix(count)
        }
    }

    /// Passes everything that the program prints to `body`, in pieces, until the end of its output.
    ///
    /// - Throws: the errors of read(2).
    package func forEachChunk(_ body: (ArraySlice<UInt8>) -> Void) throws(SystemCallError) {
        var chunk = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            // SAFETY: read writes no more bytes than the array has.
            let count = try unsafe chunk.withUnsafeMutableBufferPointer { (buffer) throws(SystemCallError) in
                try systemCall("read") { unsafe read(output.rawValue, buffer.baseAddress, buffer.count) }
            }
            if count == 0 { return }
            body(chunk[..<count])
        }
    }

    /// Kills the program: SIGKILL.
    package func kill() { _ = Glibc.kill(id, SIGKILL) }

    /// Writes a line to the program's standard input.
    ///
    /// - Throws: EPIPE when the program has ended.
    package func write(line: String) throws(SystemCallError) {
        let text = line + "\n"
        try systemCall("write") { unsafe Glibc.write(input.rawValue, text, text.utf8.count) }
    }

    /// Closes both pipes and waits for the end of the program: waitpid(2).
    ///
    /// - Returns: the exit code, or 128 plus the number of the signal that ended the program.
    @discardableResult
    package func finish() -> CInt {
        try? closeDescriptor(input)
        try? closeDescriptor(output)
        var status: CInt = 0
        while unsafe waitpid(id, &status, 0) == -1, errno == EINTR {}
        let signal = status & 0x7F
        return signal == 0 ? (status >> 8) & 0xFF : 128 + signal
    }
}

/// Both ends of a pipe, closed on exec.
package struct PipeEnds: ~Copyable {
    /// The end to read from.
    package let reading: OwnedDescriptor
    /// The end to write to. The reader sees the end of the file when all copies of this end are closed.
    package let writing: OwnedDescriptor

    /// pipe(2).
    ///
    /// - Throws: EMFILE.
    package init() throws(SystemCallError) {
        var ends: [CInt] = [0, 0]
        try systemCall("pipe") { unsafe pipe(&ends) }
        let reading = OwnedDescriptor(taking: FileDescriptor(rawValue: ends[0]))
        let writing = OwnedDescriptor(taking: FileDescriptor(rawValue: ends[1]))
        try reading.borrowed.setCloseOnExec(true)
        try writing.borrowed.setCloseOnExec(true)
        self.reading = reading
        self.writing = writing
    }
}

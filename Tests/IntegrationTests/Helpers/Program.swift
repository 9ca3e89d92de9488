// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdatePlatform
import SystemPackage
import Testing

/// The result of a program.
struct Ended: Sendable, CustomStringConvertible {
    /// Its exit status; nil when a signal ended it.
    let status: CInt?
    let output: String
    let errors: String

    var lines: [String] { output.split(separator: "\n").map(String.init) }

    /// Decodes the output as one object of JSON.
    func json<Value: Decodable>(_: Value.Type) throws -> Value {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(Value.self, from: Data(output.utf8))
    }

    /// Decodes each line of the output as an object of JSON.
    func objects() throws -> [[String: String]] {
        try lines.map { try JSONDecoder().decode([String: String].self, from: Data($0.utf8)) }
    }

    var description: String { "status \(status.map(String.init) ?? "signal")\n\(output)\n\(errors)" }
}

/// A process that runs one of our programs. It inherits only the given descriptors, and does not outlive the test.
final class Program: Sendable {
    let process: pid_t
    private let output: OwnedDescriptor
    private let errors: OwnedDescriptor
    private let status = Guarded<CInt?>(nil)

    /// The directory of the programs, which is also that of the tests.
    static let directory = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
        .path

    static func path(_ name: String) -> String { "\(directory)/\(name)" }

    /// Starts a program. `command` has its path and its arguments. `environment` has entries such as `NAME=value`, in
    /// addition to the environment of the tests. The program gets the descriptor `inheriting` as number 3, and those in
    /// `more` as 4 and so on.
    init(
        _ command: [String], environment: [String] = [], input: String = "", inheriting: FileDescriptor? = nil,
        _ more: [FileDescriptor] = []
    ) throws {
        // Memory files are used instead of pipes, so that no test must read while the program runs.
        output = try makeMemoryFile(named: "output", size: 0)
        errors = try makeMemoryFile(named: "errors", size: 0)
        // Several processes may write to them. The kernel keeps such writes to a memory file apart only if they append.
        for file in [output.borrowed, errors.borrowed] { _ = fcntl(file.rawValue, F_SETFL, O_APPEND | O_RDWR) }
        let stdin = try makeMemoryFile(named: "input", size: 0)
        _ = try stdin.borrowed.writeAll(toAbsoluteOffset: 0, Array(input.utf8))
        var mapping: [(CInt, CInt)] = [
            (stdin.borrowed.rawValue, 0), (output.borrowed.rawValue, 1), (errors.borrowed.rawValue, 2),
        ]
        if let inheriting { mapping.append((inheriting.rawValue, 3)) }
        for descriptor in more { mapping.append((descriptor.rawValue, CInt(mapping.count))) }
        process = try Self.spawn(command, Self.variables(environment), mapping)
    }

    /// The environment of the tests, without variables for an update or for the test library.
    private static func variables(_ more: [String]) -> [String] {
        ProgramImage.ownEnvironment().filter { !$0.hasPrefix("LUO_ARENA_FD=") && !$0.hasPrefix("SWIFT_TESTING") } + more
    }

    private static func spawn(
        _ command: [String], _ environment: [String], _ mapping: [(CInt, CInt)]
    ) throws -> pid_t {
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        for (from, to) in mapping { unsafe posix_spawn_file_actions_adddup2(&actions, from, to) }
        try unsafe closeFrom(CInt(mapping.count), &actions)
        var arguments: [UnsafeMutablePointer<CChar>?] = unsafe command.map { unsafe strdup($0) } + [nil]
        var variables: [UnsafeMutablePointer<CChar>?] = unsafe environment.map { unsafe strdup($0) } + [nil]
        defer {
            for index in unsafe arguments.indices { unsafe free(arguments[index]) }
            for index in unsafe variables.indices { unsafe free(variables[index]) }
        }
        var process: pid_t = 0
        let result = unsafe posix_spawn(&process, command[0], &actions, nil, &arguments, &variables)
        guard result == 0 else { throw SystemCallError("posix_spawn", Errno(rawValue: result)) }
        return process
    }

    /// posix_spawn_file_actions_addclosefrom_np(3), which Swift's Glibc module does not have.
    @unsafe
    private static func closeFrom(_ first: CInt, _ actions: inout posix_spawn_file_actions_t) throws {
        typealias Function = @convention(c) (UnsafeMutablePointer<posix_spawn_file_actions_t>, CInt) -> CInt
        guard let symbol = unsafe dlsym(nil, "posix_spawn_file_actions_addclosefrom_np") else {
            throw SystemCallError("dlsym", .noFunction)
        }
        _ = unsafe unsafeBitCast(symbol, to: Function.self)(&actions, first)
    }

    deinit { kill() }

    /// Ends the program by SIGKILL, if it has not ended.
    func kill() {
        guard status.with({ $0 }) == nil else { return }
        _ = Glibc.kill(process, SIGKILL)
        var value: CInt = 0
        unsafe waitpid(process, &value, 0)
        status.with { $0 = value }
    }

    var hasEnded: Bool {
        status.with { status in
            if status != nil { return true }
            var value: CInt = 0
            guard unsafe waitpid(process, &value, WNOHANG) == process else { return false }
            status = value
            return true
        }
    }

    /// The output so far.
    var outputSoFar: String { get throws { try text(output.borrowed) } }

    /// The standard error so far.
    var errorsSoFar: String { get throws { try text(errors.borrowed) } }

    /// Waits until the program has ended by itself.
    func ended(within seconds: Double = 120) async throws -> Ended {
        try await eventually("the end of process \(process)", within: seconds) { hasEnded }
        kill()
        let value = status.with { $0 } ?? 0
        return Ended(
            status: value & 0x7F == 0 ? value >> 8 & 0xFF : nil, output: try text(output.borrowed),
            errors: try text(errors.borrowed))
    }

    private func text(_ file: FileDescriptor) throws -> String {
        var bytes = [UInt8](repeating: 0, count: Int(try FileStatus(of: file).size))
        _ = try unsafe bytes.withUnsafeMutableBytes { buffer in
            try unsafe file.read(fromAbsoluteOffset: 0, into: buffer)
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// Runs a program to its end.
func run(
    _ command: [String], environment: [String] = [], input: String = "", inheriting: FileDescriptor? = nil
) async throws -> Ended {
    try await Program(command, environment: environment, input: input, inheriting: inheriting).ended()
}

func luoctl(_ arguments: String..., input: String = "") async throws -> Ended {
    try await run([Program.path("luoctl")] + arguments, input: input)
}

func probe(_ arguments: String...) async throws -> Ended { try await run([Program.path("UpdateProbe")] + arguments) }

/// Copies programs into a directory, and lets each user execute them. Another process makes the copies. Otherwise, a
/// program that a concurrent test starts would have a copy open for writing, and its execution would fail.
func install(_ programs: [String], into directory: String) async throws {
    let ended = try await run(["/usr/bin/install", "-m", "755", "-t", directory] + programs)
    if ended.status != 0 { Issue.record("\(ended)") }
}

/// Waits until a condition holds. It fails the test when that takes too long.
func eventually(_ what: String, within seconds: Double, _ holds: () throws -> Bool) async throws {
    let deadline = monotonicNanoseconds() + UInt64(seconds * 1e9)
    while try !holds() {
        guard monotonicNanoseconds() < deadline else {
            Issue.record("\(what) did not come within \(seconds) s")
            return
        }
        try await Task.sleep(for: .milliseconds(5))
    }
}

/// Whether a condition holds before the time is over. It blocks its thread, for conditions that may be over before a
/// test continues.
func soon(within seconds: Double, _ holds: () throws -> Bool) throws -> Bool {
    let deadline = monotonicNanoseconds() + UInt64(seconds * 1e9)
    while try !holds() {
        guard monotonicNanoseconds() < deadline else { return false }
        usleep(1_000)
    }
    return true
}

/// The processes that run luoctl with this word among their arguments.
func processes(running word: String) throws -> [pid_t] {
    try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap { pid_t($0) }.filter { process in
        let program = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(process)/exe")
        guard let program, program == Program.path("luoctl") else { return false }
        let line = try? String(contentsOfFile: "/proc/\(process)/cmdline", encoding: .utf8)
        return line?.split(separator: "\0").contains { $0 == word } == true
    }
}

extension FileDescriptor {
    /// Opens the file with `O_PATH`, for a descriptor that only names it: open(2).
    func openedAsPath() throws -> OwnedDescriptor {
        // This flag needs _GNU_SOURCE, which Swift's Glibc module does not define.
        let onlyPath: CInt = 0o10000000
        let number = unsafe Glibc.open("/proc/self/fd/\(rawValue)", onlyPath | O_CLOEXEC)
        guard number >= 0 else { throw SystemCallError("open", Errno(rawValue: Glibc.errno)) }
        return OwnedDescriptor(taking: FileDescriptor(rawValue: number))
    }

    /// Opens the file again. The new open file description has locks of its own.
    func reopenedForWriting() throws -> OwnedDescriptor {
        let number = unsafe Glibc.open("/proc/self/fd/\(rawValue)", O_RDWR | O_CLOEXEC)
        guard number >= 0 else { throw SystemCallError("open", Errno(rawValue: Glibc.errno)) }
        return OwnedDescriptor(taking: FileDescriptor(rawValue: number))
    }
}

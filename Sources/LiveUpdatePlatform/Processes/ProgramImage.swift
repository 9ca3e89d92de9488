// SPDX-License-Identifier: Apache-2.0
import CLiveUpdate
import Glibc
public import SystemPackage

/// A program to run: the parameters of execve(2).
public struct ProgramImage: Sendable {
    /// The file to execute. `PATH` is not searched.
    public var path: FilePath
    /// The arguments. By custom the first is the name of the program.
    public var arguments: [String]
    /// How many of the last arguments are the last ones of this process's own command line. They are passed on byte for
    /// byte, even if they are not UTF-8.
    package var ownArguments = 0
    /// The environment, as `NAME=value`. Variables of this process's own environment are passed on byte for byte, too.
    public var environment: [String]

    /// Describes a program. Without an environment it gets this process's own.
    public init(path: FilePath, arguments: [String], environment: [String] = Self.ownEnvironment()) {
        self.path = path
        self.arguments = arguments
        self.environment = environment
    }

    /// The path of the program that this process runs, as it was when the program was started: the target of
    /// /proc/self/exe. If another version has replaced the program's file since then, that version is at this path.
    /// Without /proc the result is /proc/self/exe itself.
    public static func ownPath() -> FilePath {
        let link = "/proc/self/exe"
        guard let target = try? linkBytes(link) else { return FilePath(link) }
        return path(ofTarget: target)
    }

    /// The path in the target of such a link. The kernel marks a file that has no name any more.
    static func path(ofTarget target: [UInt8]) -> FilePath {
        let mark = Array(" (deleted)".utf8)
        return FilePath(bytes: target.suffix(mark.count).elementsEqual(mark) ? target.dropLast(mark.count) : target)
    }

    /// This process's environment, as environ(7).
    public static func ownEnvironment() -> [String] {
        var variables: [String] = []
        var next = unsafe environ
        while let entry = unsafe next.pointee {
            unsafe variables.append(String(cString: entry))
            unsafe next += 1
        }
        return variables
    }

    /// The same program with a variable of its environment set, or, without a value, taken out.
    package func setting(_ variable: String, _ value: String?) -> ProgramImage {
        var image = self
        image.environment.removeAll { $0.hasPrefix("\(variable)=") }
        if let value { image.environment.append("\(variable)=\(value)") }
        return image
    }

    /// Becomes this program: execve(2). Returns only by throwing.
    ///
    /// - Throws: ENOENT, EACCES, ENOEXEC, E2BIG and other errors of execve(2).
    package func execute() throws(SystemCallError) -> Never {
        let error = unsafe withCStrings { path, arguments, environment in
            Result { () throws(SystemCallError) in
                try systemCall("execve") { unsafe execve(path, arguments, environment) }
            }
        }
        _ = try error.get()
        throw SystemCallError("execve", .ioError)
    }

    /// Starts the program beside this process. No signal is blocked in it.
    ///
    /// With reserved ``SpawnNumbers`` this uses clone(2) and close_range(2), and closes no descriptor of this process.
    /// Without them, or before Linux 5.9, it uses posix_spawn(3): the new process copies all descriptors and closes the
    /// copies, and each close may wait for a file system.
    ///
    /// - Parameters:
    ///   - inherited: a descriptor that the program gets, besides the standard ones.
    ///   - number: the descriptor's number in the program.
    /// - Returns: its process's number, for the caller to wait for.
    /// - Throws: ENOENT, EACCES and other errors of execve(2); EAGAIN, ENOMEM.
    package func spawn(_ inherited: FileDescriptor, as number: CInt) throws(SystemCallError) -> CInt {
        do throws(SystemCallError) {
            if let id = try SpawnNumbers.lend(inherited, { place in spawnWithoutCopies(place, number) }) {
                return try id.get()
            }
        } catch {
            guard [.noFunction, .invalidArgument].contains(error.errno) else { throw error }
        }
        return try spawnWithCopies(inherited, number)
    }

    private func spawnWithoutCopies(_ place: CInt, _ number: CInt) -> Result<CInt, SystemCallError> {
        unsafe withCStrings { path, arguments, environment in
            Result { () throws(SystemCallError) in
                do throws(SystemCallError) {
                    return try systemCall("clone") {
                        unsafe cshims_spawn(path, arguments, environment, place, number, SpawnNumbers.end)
                    }
                } catch {
                    // These errors are of execve(2) in the child.
                    let ofProgram: [Errno] = [
                        .permissionDenied, .noSuchFileOrDirectory, .notDirectory, .execFormatError,
                    ]
                    throw ofProgram.contains(error.errno) ? SystemCallError("execve", error.errno) : error
                }
            }
        }
    }

    private func spawnWithCopies(_ inherited: FileDescriptor, _ number: CInt) throws(SystemCallError) -> CInt {
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        unsafe posix_spawn_file_actions_adddup2(&actions, inherited.rawValue, number)
        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        unsafe sigemptyset(&none)
        unsafe posix_spawnattr_setsigmask(&attributes, &none)
        unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        var id: pid_t = 0
        let result = unsafe withCStrings { path, arguments, environment in
            unsafe posix_spawn(&id, path, &actions, &attributes, arguments, environment)
        }
        guard result == 0 else { throw SystemCallError("posix_spawn", Errno(rawValue: result)) }
        return id
    }

    /// Starts the program apart from this process: it is no child of this process and has no terminal, and inherits
    /// nothing else.
    ///
    /// - Parameters:
    ///   - input: its standard input.
    ///   - output: its standard output and error. It is closed at once when the program cannot be executed.
    /// - Throws: EAGAIN, ENOMEM.
    package func startApart(input: FileDescriptor, output: FileDescriptor) throws(SystemCallError) {
        let result = unsafe withCStrings { path, arguments, environment in
            Result { () throws(SystemCallError) in
                try systemCall("fork") {
                    unsafe cshims_start_apart(path, arguments, environment, input.rawValue, output.rawValue)
                }
            }
        }
        _ = try result.get()
    }

    /// Lends the path as a C string, and the arguments and the environment as arrays of C strings.
    @unsafe
    func withCStrings<Value>(
        _ body: (
            _ path: UnsafePointer<CChar>, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>,
            _ environment: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
        ) -> Value
    ) -> Value {
        let own = unsafe Self.pointers(CommandLine.unsafeArgv).suffix(ownArguments)
        let arguments = unsafe Self.cStrings(
            arguments.dropLast(own.count).map { unsafe strdup($0) } + own.map { unsafe strdup($0) })
        let inherited = unsafe Self.pointers(environ)
        let environment = unsafe Self.cStrings(
            environment.map { variable in
                // A string has U+FFFD in place of bytes that are not UTF-8. The original of such a variable is the
                // inherited one that decodes to the same string.
                let exact =
                    unsafe variable.contains("\u{fffd}")
                    ? inherited.first { unsafe String(cString: $0) == variable } : nil
                return unsafe exact.map { unsafe strdup($0) } ?? strdup(variable)
            })
        defer {
            unsafe Self.free(arguments)
            unsafe Self.free(environment)
        }
        return unsafe path.withPlatformString { unsafe body($0, arguments, environment) }
    }

    @unsafe
    private static func cStrings(
        _ strings: [UnsafeMutablePointer<CChar>?]
    ) -> UnsafeMutablePointer<UnsafeMutablePointer<CChar>?> {
        let count = unsafe strings.count
        let pointers = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>.allocate(capacity: count + 1)
        for index in 0..<count { unsafe pointers[index] = strings[index] }
        unsafe pointers[count] = nil
        return unsafe pointers
    }

    /// The elements of an array that ends with a null pointer.
    @unsafe
    private static func pointers(
        _ first: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
    ) -> [UnsafeMutablePointer<CChar>] {
        var next = unsafe first
        var found: [UnsafeMutablePointer<CChar>] = unsafe []
        while let pointer = unsafe next.pointee {
            unsafe found.append(pointer)
            unsafe next += 1
        }
        return unsafe found
    }

    @unsafe
    private static func free(_ pointers: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) {
        var next = unsafe pointers
        while let string = unsafe next.pointee {
            unsafe Glibc.free(string)
            unsafe next += 1
        }
        unsafe pointers.deallocate()
    }
}

/// A variable of this process's environment: getenv(3).
package func environmentVariable(_ name: String) -> String? {
    unsafe getenv(name).map { unsafe String(cString: $0) }
}

/// The value of the variable `LUO_STATE`, which names the state directory of luod. Nil when the variable is not set, or
/// is empty: so `LUO_STATE= COMMAND` is a command without the variable.
package var stateInEnvironment: String? { environmentVariable("LUO_STATE").flatMap { $0.isEmpty ? nil : $0 } }

/// Like ``environmentVariable(_:)``, but also removes the variable: unsetenv(3). No other thread may use the
/// environment meanwhile.
@discardableResult
package func takeEnvironmentVariable(_ name: String) -> String? {
    let value = environmentVariable(name)
    unsafe unsetenv(name)
    return value
}

/// The descriptor numbers below 64. A process reserves them to be able to start programs while a close of its other
/// descriptors would wait.
///
/// A new process normally gets a copy of each descriptor, and before it runs the program it closes the copies that are
/// closed on exec. A close of a FUSE file asks its server, also while other descriptors of the file stay open, so a
/// server that does not answer would keep every program from starting. With reserved numbers the new process copies
/// only the numbers below 64. These are never descriptors of a client: the process takes them before it gets any, and
/// does not free them again.
package enum SpawnNumbers {
    /// The first number that is not reserved: a multiple of 64, because the kernel copies whole words.
    static let end: CInt = 64
    /// The least RLIMIT_NOFILE with which numbers are reserved: 64 of fewer would be too many.
    private static let fewest = 256

    private static let reserved = Guarded<[CInt]>([])

    /// The reserved numbers that are not lent, for tests.
    static var numbers: [CInt] { reserved.with { $0 } }

    /// Fills the free numbers with descriptors of /dev/null. A process calls this once at its start, before it gets a
    /// descriptor of a client. It must not close a number below 64 that was in use before. With RLIMIT_NOFILE below 256
    /// nothing is reserved.
    ///
    /// - Throws: ENOENT, EACCES or EMFILE for /dev/null. The numbers that were filled until then stay reserved.
    package static func reserve() throws(SystemCallError) {
        guard DescriptorLimit.now >= fewest else { return }
        try reserved.with { (reserved) throws(SystemCallError) in
            while true {
                let null = try openFile("/dev/null")
                guard null.borrowed.rawValue < end else { return }
                reserved.append(null.release().rawValue)
            }
        }
    }

    /// Takes a reserved number, and makes it a copy of a descriptor.
    ///
    /// - Returns: nil without reserved numbers.
    fileprivate static func take(_ descriptor: FileDescriptor) -> CInt? {
        reserved.with { reserved in
            // The last number stays for starting programs.
            guard reserved.count > 1 else { return nil }
            let number = reserved.removeLast()
            guard (try? descriptor.copy(to: FileDescriptor(rawValue: number))) == nil else { return number }
            reserved.append(number)
            return nil
        }
    }

    /// Reserves a number again that was taken.
    fileprivate static func release(_ number: CInt) {
        reserved.with { reserved in
            guard let null = reserved.last else { return }
            try? FileDescriptor(rawValue: null).copy(to: FileDescriptor(rawValue: number))
            reserved.append(number)
        }
    }

    /// Makes a reserved number a copy of a descriptor while `body` runs.
    ///
    /// - Returns: nil without reserved numbers.
    fileprivate static func lend<Value: Sendable>(
        _ descriptor: FileDescriptor, _ body: (CInt) -> Value
    ) throws(SystemCallError) -> Value? {
        try reserved.with { (reserved) throws(SystemCallError) in
            guard let number = reserved.last else { return nil }
            let place = FileDescriptor(rawValue: number)
            let null = try place.duplicated()
            try descriptor.copy(to: place)
            // The number must never be free: the next descriptor of a client would get it.
            defer { try? null.borrowed.copy(to: place) }
            return body(number)
        }
    }
}

/// One of the reserved ``SpawnNumbers``, as a copy of a descriptor for as long as this object exists. A new process
/// finds the descriptor by this number in /proc/self/fd until it executes its program.
package final class SpawnNumber: Sendable {
    /// The number. Do not close it.
    package let descriptor: FileDescriptor

    /// - Returns: nil without reserved numbers: then a new process has a copy of each descriptor.
    package init?(_ original: FileDescriptor) {
        guard let number = SpawnNumbers.take(original) else { return nil }
        descriptor = FileDescriptor(rawValue: number)
    }

    deinit { SpawnNumbers.release(descriptor.rawValue) }
}

/// Writes out the buffered standard output and standard error: fflush(3). Errors are ignored, because a program must be
/// able to go on when its output has no reader. Other streams are left alone: another thread may hold the lock of one
/// while it waits for input.
package func flushStandardOutput() { cshims_flush_output() }

// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// The arguments of this process, and the inherited state that it changes at its start. Programs that it executes must
/// get the original state.
package enum Inherited {
    /// The inherited handler of SIGPIPE, saved before anything else.
    nonisolated(unsafe) private static var brokenPipe: (@convention(c) (CInt) -> Void)? = SIG_DFL

    /// The standard descriptors that were closed.
    nonisolated(unsafe) private static var closed: [FileDescriptor] = []

    /// Opens closed standard descriptors, ignores SIGPIPE, and makes unwritten output an error. A program calls this
    /// before anything else. The process ends with exit code 69 when its arguments cannot be read.
    package static func prepare() {
        unsafe closed = openStandardDescriptors()
        // Swift reads the arguments from /proc, and has none without a descriptor or without /proc.
        guard CommandLine.argc > 0 else {
            exit(
                Exit.unavailable(
                    "the arguments cannot be read: mount /proc, and allow more descriptors (ulimit -n)"
                ).rawValue)
        }
        // The reader of the output may end early. Without SIGPIPE, the command still ends its work, or undoes it if
        // necessary.
        unsafe brokenPipe = signal(SIGPIPE, SIG_IGN)
        atexit {
            // A reader that has ended needs no more output. Output that a full disk did not take is missing.
            guard fflush(nil) != 0, errno != EPIPE else { return }
            _exit(Exit.unwritten(Errno(rawValue: errno)).rawValue)
        }
    }

    /// Restores the inherited state, for a program that this process becomes.
    package static func restore() {
        _ = unsafe signal(SIGPIPE, brokenPipe)
        for descriptor in unsafe closed { try? descriptor.setCloseOnExec(true) }
    }

    /// The arguments. An argument that is not UTF-8 is escaped like a session name, because Swift would replace all
    /// invalid bytes with the same character.
    package static var arguments: [String] {
        (1..<max(1, Int(CommandLine.argc))).compactMap { index in
            guard let argument = unsafe CommandLine.unsafeArgv[index] else { return nil }
            if let text = unsafe String(validatingCString: argument) { return text }
            let bytes = unsafe UnsafeRawBufferPointer(start: argument, count: strlen(argument))
            return unsafe SessionName(bytes: bytes).description
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// The error that ends luod when it cannot begin on a state: a message, and the exit code of luod. A service manager
/// does not start luod again after these exit codes (`RestartPreventExitStatus=` of luod.service).
package struct StartFailure: Error, Equatable, Sendable, CustomStringConvertible {
    /// The kinds of causes. The raw value is the exit code: sysexits(3).
    package enum Cause: CInt, Sendable {
        /// Any other cause.
        case other = 1
        /// A path that is too long.
        case usage = 64
        /// The state is damaged, or was written by another version.
        case data = 65
        /// luod lacks memory, space or descriptors, or another luod runs on the state.
        case unavailable = 69
        /// The rights to the state are missing.
        case rights = 77
    }

    /// The kind of the cause.
    package let cause: Cause
    /// The message: the path on which luod failed, the reason, and the remedy.
    package let description: String

    init(_ cause: Cause, _ description: String) {
        self.cause = cause
        self.description = description
    }

    /// Translates an error of the start.
    ///
    /// - Parameters:
    ///   - error: the error.
    ///   - state: the state on which luod cannot begin.
    package init(_ error: any Error, on state: StateDirectory) {
        switch error {
        case let failure as StartFailure: self = failure
        case let held as StateHeld: self.init(.unavailable, "\(held)")
        case let error as ArenaError:
            self.init(
                Cause(error),
                "\(state.arena): \(error.gate.rawValue): \(error.reason); \(Self.remedy(for: error, state))")
        case let error as LiveUpdateError:
            // EIO from the core means unreadable content.
            let cause = error.errno == .ioError ? .data : Cause(error.errno)
            self.init(cause, error.reason.contains(state.path) ? "\(error)" : "\(state.arena): \(error)")
        case let error as SystemCallError:
            self.init(Cause(error.errno), "\(LiveUpdateError(error, state.path))")
        default: self.init(.other, "\(state.path): \(error)")
        }
    }

    private static func remedy(for error: ArenaError, _ state: StateDirectory) -> String {
        switch Cause(error) {
        case .data:
            "start the luod that wrote it, or remove the file and lose everything that luoctl inspect shows in it"
        case .rights: "run luod as the owner of the state"
        case .unavailable where error.gate == .owner: "end that process first: fuser(1) says which has the file open"
        case .unavailable where error.gate == .space:
            "give the file system of \(state.path) more room, raise the limit on the size of files (ulimit -f), or --max-arena"
        case .unavailable, .usage, .other: "raise the limits on memory (ulimit -v, MemoryMax=), or lower --max-arena"
        }
    }
}

extension StartFailure.Cause {
    fileprivate init(_ error: ArenaError) {
        // EIO is about the content of the file. Every other errno comes from the kernel.
        self = error.errno == .ioError ? .data : Self(error.errno)
    }

    fileprivate init(_ errno: Errno) {
        switch errno {
        case .permissionDenied, .notPermitted: self = .rights
        case .noSpace, .diskQuotaExceeded, .fileTooLarge, .noMemory, .tooManyOpenFiles, .tooManyOpenFilesInSystem,
            .resourceTemporarilyUnavailable, .noBufferSpace, .tooManyReferences, .readOnlyFileSystem, .noFunction:
            self = .unavailable
        default: self = .other
        }
    }
}

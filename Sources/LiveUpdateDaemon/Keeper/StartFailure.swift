import Handover
import LiveUpdate
import Platform
import SystemPackage

/// Why luod cannot begin on a state: one message, and the exit code of luod, after which a service manager does not start
/// luod again (`RestartPreventExitStatus=` of luod.service).
public struct StartFailure: Error, Equatable, Sendable, CustomStringConvertible {
    /// The kinds of causes, by their exit code: sysexits(3).
    public enum Cause: CInt, Sendable {
        /// Any other cause.
        case other = 1
        /// The state is damaged, or was written by another version.
        case data = 65
        /// Something that luod needs is not there: memory, space, descriptors, or the state itself, which another luod has.
        case unavailable = 69
        /// The rights to the state are missing.
        case rights = 77
    }

    /// What kind of cause it is.
    public let cause: Cause
    /// The message: on what luod failed, why, and what to do.
    public let description: String

    init(_ cause: Cause, _ description: String) {
        self.cause = cause
        self.description = description
    }

    /// What an error means for a start.
    ///
    /// - Parameters:
    ///   - error: what was thrown.
    ///   - state: the state that luod was to begin on.
    public init(_ error: any Error, on state: StateDirectory) {
        switch error {
        case let failure as StartFailure: self = failure
        case let held as StateHeld: self.init(.unavailable, "\(held)")
        case let error as ArenaError:
            self.init(
                Cause(error),
                "\(state.arena): \(error.gate.rawValue): \(error.reason); \(Self.remedy(for: error, state))")
        case let error as LiveUpdateError:
            // The core says EIO of content that cannot be read.
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
            "start the luod that wrote it, or remove the file, and lose what it describes: luoctl inspect shows that"
        case .rights: "run luod as the user to whom the state belongs"
        case .unavailable where error.gate == .owner: "end that process first: fuser(1) says which has the file open"
        case .unavailable where error.gate == .space:
            "give the file system of \(state.path) more room, raise the limit on the size of files (ulimit -f), or --max-arena"
        case .unavailable, .other: "raise the limits on memory (ulimit -v, MemoryMax=), or lower --max-arena"
        }
    }
}

extension StartFailure.Cause {
    fileprivate init(_ error: ArenaError) {
        // EIO stands for what the file contains; any other errno is the kernel's.
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

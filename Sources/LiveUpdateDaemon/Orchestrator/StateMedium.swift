// SPDX-License-Identifier: Apache-2.0
package import LiveUpdatePlatform
import SystemPackage

/// The medium that the state is on. It decides whether sessions survive the kernel. The log names it when a new state
/// begins, because the usual reason for an unexpected new state is that a file system is not mounted.
package enum StateMedium: Equatable, Sendable {
    case dax
    case disk
    case memory

    /// Asks the file system of the arena; nil when that cannot be asked.
    init?(ofArena arena: FileDescriptor) {
        guard let status = try? FileStatus(of: arena), let kind = try? FileSystemKind(of: arena) else { return nil }
        self.init(isDax: status.isDax, kind)
    }

    /// Decides from the file system, and from whether the arena is on DAX.
    package init(isDax: Bool, _ kind: FileSystemKind) {
        self = isDax ? .dax : kind.isInMemory ? .memory : .disk
    }

    /// The line of the log about a new state, which has this path.
    package func line(_ state: String) -> String {
        switch self {
        case .dax: "a new state begins in \(state), on DAX: it survives the kernel, with files on DAX"
        case .disk: "a new state begins in \(state), on a disk: it survives the kernel, with files on DAX"
        case .memory:
            "a new state begins in \(state), in memory: it ends with the kernel; was a file system to be mounted there?"
        }
    }
}

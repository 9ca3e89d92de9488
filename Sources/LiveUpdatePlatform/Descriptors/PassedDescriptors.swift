// SPDX-License-Identifier: Apache-2.0
import Glibc
package import SystemPackage

/// A descriptor that a service manager passed to this process when it started the process.
package struct PassedDescriptor: Sendable {
    /// The manager's name for it: the name that it was stored under, or the name of a socket's unit.
    package let name: String
    /// The descriptor, which the receiver closes.
    package let descriptor: FileDescriptor

    /// All passed descriptors, closed on exec: those that sd_listen_fds_with_names(3) finds in `LISTEN_PID`,
    /// `LISTEN_FDS` and `LISTEN_FDNAMES`. These variables are removed from the environment, so that programs started
    /// later do not find them.
    package static func takeAll() -> [PassedDescriptor] {
        let process = takeEnvironmentVariable("LISTEN_PID").flatMap { pid_t($0) }
        let count = takeEnvironmentVariable("LISTEN_FDS").flatMap { CInt($0) } ?? 0
        let names = (takeEnvironmentVariable("LISTEN_FDNAMES") ?? "")
            .split(separator: ":", omittingEmptySubsequences: false).map { String($0) }
        guard process == getpid() else { return [] }
        return numbers(count, limit: DescriptorLimit.now).enumerated().compactMap { index, number in
            let descriptor = FileDescriptor(rawValue: number)
            guard (try? descriptor.setCloseOnExec(true)) != nil else { return nil }
            return PassedDescriptor(
                name: index < names.count ? names[index] : "unknown", descriptor: movedUp(descriptor))
        }
    }

    /// The numbers of passed descriptors, which begin at 3: at most as many as a process may have.
    static func numbers(_ count: CInt, limit: Int) -> Range<CInt> {
        let first: CInt = 3
        return first..<first + max(min(count, CInt(clamping: limit), .max - first), 0)
    }

    /// Moves a descriptor out of the numbers of ``SpawnNumbers``, of which new processes get copies. A descriptor with
    /// a close that may wait stays where it is.
    private static func movedUp(_ descriptor: FileDescriptor) -> FileDescriptor {
        guard descriptor.rawValue < SpawnNumbers.end, (try? descriptor.mayAskServer()) == false,
            let copy = try? descriptor.duplicated(from: SpawnNumbers.end)
        else { return descriptor }
        try? closeDescriptor(descriptor)
        return copy.release()
    }
}

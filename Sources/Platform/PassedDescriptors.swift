import Glibc
public import SystemPackage

/// A descriptor that a service manager has passed to this process when it started it.
public struct PassedDescriptor: Sendable {
    /// What the manager calls it: what it was stored as, or the name of a socket's unit.
    public let name: String
    /// The receiver's.
    public let descriptor: FileDescriptor

    /// All that were passed, closed on exec: what sd_listen_fds_with_names(3) finds in `LISTEN_PID`, `LISTEN_FDS` and
    /// `LISTEN_FDNAMES`. Those are taken out of the environment, so that nobody who is started finds them.
    public static func takeAll() -> [PassedDescriptor] {
        let process = takeEnvironmentVariable("LISTEN_PID").flatMap { pid_t($0) }
        let count = takeEnvironmentVariable("LISTEN_FDS").flatMap { CInt($0) } ?? 0
        let names = (takeEnvironmentVariable("LISTEN_FDNAMES") ?? "")
            .split(separator: ":", omittingEmptySubsequences: false).map { String($0) }
        guard process == getpid(), count > 0 else { return [] }
        let first: CInt = 3
        // Any number can stand there; a manager passes no more than its descriptor store holds.
        return (0..<min(count, 1 << 20)).compactMap { index in
            let descriptor = FileDescriptor(rawValue: first + index)
            guard (try? descriptor.setCloseOnExec(true)) != nil else { return nil }
            return PassedDescriptor(
                name: Int(index) < names.count ? names[Int(index)] : "unknown", descriptor: descriptor)
        }
    }
}

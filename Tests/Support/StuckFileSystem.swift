// SPDX-License-Identifier: Apache-2.0
import CStuckFileSystem
import Glibc
package import LiveUpdatePlatform
package import SystemPackage

/// A FUSE file system with a server that answers only INIT, LOOKUP and OPEN. It needs root.
///
/// fstat(2), fstatfs(2), read(2) and each close(2) of its file wait until ``end()``, most of them so that no signal
/// ends them.
///
/// The server is a process of its own, in its own mount namespace. It also ends when this process is killed, so that no
/// mount and no waiting process is left. It ends by itself after a minute, so that a test that waits for it in vain
/// fails.
@safe
package final class StuckFileSystem: @unchecked Sendable {
    /// A request of the FUSE protocol.
    package enum Request: Int, Sendable {
        case lookup = 1
        case getattr = 3
        case open = 14
        case read = 15
        case statfs = 17
        case release = 18
        case flush = 25
    }

    // SAFETY: set in init, and the counters live until deinit.
    private var system = unsafe stuck_file_system()
    private let isEnded = Guarded(false)

    /// The reason why no such file system can be mounted here; nil if one can.
    package static let isMissing: String? = {
        guard geteuid() == 0 else { return "only root mounts a file system" }
        do {
            _ = try StuckFileSystem()
            return nil
        } catch {
            return "no FUSE file system can be mounted: \(error)"
        }
    }()

    /// Mounts the file system.
    ///
    /// - Throws: ENOENT without /dev/fuse, EPERM without the right to mount.
    package init() throws(SystemCallError) {
        let error = unsafe stuck_file_system_start(&system)
        if error != 0 { throw SystemCallError("mount", Errno(rawValue: error)) }
    }

    deinit {
        end()
        unsafe stuck_file_system_forget(&system)
    }

    /// The path of its only file. The server answers an open of this file.
    package var path: String { unsafe "/proc/\(system.process)/root/tmp/file" }

    /// Opens the file. The descriptor has no owner here, because its close waits.
    ///
    /// - Throws: ENOTCONN after ``end()``.
    package func open(_ flags: CInt = O_RDWR) throws(SystemCallError) -> FileDescriptor {
        let path = path
        let number = try systemCall("open") { unsafe Glibc.open(path, flags | O_CLOEXEC) }
        return FileDescriptor(rawValue: number)
    }

    /// The mount point, in the mount namespace of its server.
    package static var point: FilePath { "/tmp" }

    /// Lets the calling thread see the mounts of the server: ``MountNamespace/join(_:)``.
    package func joinNamespace() throws { try unsafe MountNamespace.join(system.process) }

    /// The number of requests of a kind that have come to the server.
    package func count(_ request: Request) -> Int { unsafe Int(system.requests[request.rawValue]) }

    /// Waits until the server has received so many requests of a kind, at most ten seconds. Then a call is waiting for
    /// it.
    package func wait(for request: Request, _ count: Int = 1) -> Bool {
        for _ in 0..<10_000 where self.count(request) < count { usleep(1000) }
        return self.count(request) >= count
    }

    /// Ends the server. Each call that waits for it fails with ECONNABORTED, and each later one with ENOTCONN.
    package func end() {
        let first = isEnded.with { ended in
            defer { ended = true }
            return !ended
        }
        if first { unsafe stuck_file_system_end(&system) }
    }

    /// Starts a child of this process that holds the file, or that waits for its close in a second thread. The caller
    /// ends the child and waits for it.
    package func startUser(closing: Bool) throws(SystemCallError) -> CInt {
        let (path, opened, flushed) = (path, count(.open), count(.flush))
        let child = try systemCall("fork") { unsafe stuck_file_system_user(path, closing ? 1 : 0) }
        _ = closing ? wait(for: .flush, flushed + 1) : wait(for: .open, opened + 1)
        return child
    }
}

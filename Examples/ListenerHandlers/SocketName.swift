// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore

/// The file that has the name of a Unix socket.
enum SocketName {
    case socket(permissions: UInt32)
    case nothing
    case somethingElse

    /// Looks at the name: lstat(2).
    ///
    /// - Throws: EACCES and other errors of lstat(2).
    init(_ path: FilePath) throws(SystemCallError) {
        var status = stat()
        do throws(SystemCallError) {
            try systemCall("lstat") { unsafe path.withPlatformString { unsafe lstat($0, &status) } }
        } catch {
            guard error.errno == .noSuchFileOrDirectory else { throw error }
            self = .nothing
            return
        }
        self = status.st_mode & S_IFMT == S_IFSOCK ? .socket(permissions: status.st_mode & 0o777) : .somethingElse
    }

    /// Removes a name that a dead process has left, so that it can be bound again. The name stays if a process listens
    /// at it.
    ///
    /// - Throws: the errors of connect(2) and unlink(2).
    static func removeIfDead(_ address: SocketAddress) throws(SystemCallError) {
        guard let path = address.path, case .socket = try SocketName(path), try !isListening(at: address) else {
            return
        }
        try systemCall("unlink") { unsafe path.withPlatformString { unsafe unlink($0) } }
    }

    /// Sets the permissions of a name: chmod(2).
    static func setPermissions(_ path: FilePath, _ permissions: UInt32) throws(SystemCallError) {
        try systemCall("chmod") { unsafe path.withPlatformString { unsafe chmod($0, permissions) } }
    }
}

// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// A session of the kernel's own orchestrator, on a kernel that has `/dev/liveupdate`. luod uses one to carry memory
/// files and its arena to the next kernel. The device is open only for the time of a call, so that other programs can
/// use it.
final class KernelSession: Sendable {
    private static let path = KernelOrchestrator.devicePath
    private let session: OwnedDescriptor

    /// A session that this process has opened, or got from another process.
    init(_ session: consuming OwnedDescriptor) { self.session = session }

    /// The descriptor of the session, for another process.
    var descriptor: FileDescriptor { session.borrowed }

    /// Whether this kernel has the device.
    static var isPossible: Bool { unsafe access(path, R_OK | W_OK) == 0 }

    /// Makes a session.
    ///
    /// - Throws: EEXIST when the session is there already; EBUSY when another process has the device open; EACCES;
    ///   ENOENT or ENXIO when the kernel was started without `kho=on liveupdate=on`; ENOMEM, EMFILE.
    static func create(_ name: SessionName) throws(SystemCallError) -> KernelSession {
        try KernelSession(open(.createSession, name))
    }

    /// Opens a session that the previous kernel has handed over.
    ///
    /// - Returns: nil when there is no such session, or no such device.
    /// - Throws: EBUSY when another process has the device open; EINVAL when the session is open; EACCES, EMFILE.
    static func retrieve(_ name: SessionName) throws(SystemCallError) -> KernelSession? {
        do throws(SystemCallError) {
            return try KernelSession(open(.retrieveSession, name))
        } catch {
            if [.noSuchFileOrDirectory, .noSuchAddressOrDevice].contains(error.errno) { return nil }
            throw error
        }
    }

    private static func open(_ call: Call, _ name: SessionName) throws(SystemCallError) -> OwnedDescriptor {
        let number = try systemCall("open") { unsafe Glibc.open(path, O_RDWR | O_CLOEXEC) }
        let device = OwnedDescriptor(taking: FileDescriptor(rawValue: number))
        var body = NameCall(name).body
        try device.borrowed.control(call.command, &body)
        return OwnedDescriptor(taking: FileDescriptor(rawValue: CInt(bitPattern: NameCall(body).word)))
    }

    /// Preserves a memory file.
    ///
    /// - Throws: EEXIST for a token in use, EBUSY for a file that is preserved already, ENOENT for a file that the
    ///   kernel does not take, EINVAL for an incoming session, ENOMEM.
    func preserve(_ file: FileDescriptor, token: UInt64) throws(SystemCallError) {
        var body = FileCall(token: token, descriptor: file.rawValue).body
        try session.borrowed.control(Call.preserve.command, &body)
    }

    /// Retrieves a memory file.
    ///
    /// - Throws: ENOENT for an unknown token, EINVAL for an outgoing session, EMFILE, and the error with which the
    ///   kernel could not retrieve the file.
    func retrieve(token: UInt64) throws(SystemCallError) -> OwnedDescriptor {
        var body = FileCall(token: token).body
        try session.borrowed.control(Call.retrieve.command, &body)
        return OwnedDescriptor(taking: FileDescriptor(rawValue: FileCall(body).descriptor))
    }

    /// Finishes the session: the kernel releases everything that it has preserved for it.
    ///
    /// - Throws: EINVAL for an outgoing session, EBUSY when a file cannot be finished yet.
    func finish() throws(SystemCallError) {
        var body = WordCall().body
        try session.borrowed.control(Call.finish.command, &body)
    }
}

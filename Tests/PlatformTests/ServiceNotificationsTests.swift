// SPDX-License-Identifier: Apache-2.0
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdatePlatform

/// Notifications to a service manager that exists, and to one that does not.
@Suite struct ServiceNotificationsTests {
    private let directory: TemporaryDirectory
    private let path: String

    init() throws {
        directory = try TemporaryDirectory()
        path = "\(directory.path)/notify"
    }

    /// A socket that receives datagrams at a path, or at an abstract name.
    private func listen(at path: String) throws -> OwnedDescriptor {
        let made = OwnedDescriptor(
            taking: FileDescriptor(
                rawValue: try systemCall("socket") { socket(AF_UNIX, CInt(SOCK_DGRAM.rawValue), 0) }))
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let isAbstract = path.hasPrefix("@")
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { bytes in
            unsafe bytes.copyBytes(from: path.utf8)
            if isAbstract { unsafe bytes[0] = 0 }
        }
        let length = 2 + path.utf8.count + (isAbstract ? 0 : 1)
        let number = made.borrowed.rawValue
        let result = unsafe withUnsafePointer(to: &address) { pointer in
            // SAFETY: a sockaddr_un is a sockaddr of its family.
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                unsafe bind(number, address, socklen_t(length))
            }
        }
        try #require(result == 0)
        return made
    }

    @Test("The manager gets each notification", arguments: [false, true]) func said(isAbstract: Bool) throws {
        let path = isAbstract ? "@\(path)" : path
        let listener = try listen(at: path)
        let manager = try ServiceNotifications(to: path)
        try manager.send(["READY=1", "STATUS=well"])
        var bytes = [UInt8](repeating: 0, count: 100)
        let count = unsafe read(listener.borrowed.rawValue, &bytes, bytes.count)
        #expect(String(decoding: bytes.prefix(max(count, 0)), as: UTF8.self) == "READY=1\nSTATUS=well")
    }

    private func failure(_ path: String) -> Errno? {
        do throws(SystemCallError) {
            _ = try ServiceNotifications(to: path)
            return nil
        } catch {
            return error.errno
        }
    }

    @Test("A path without a socket, without a listener, or of another file is an error") func dead()
        throws
    {
        #expect(failure(path) == .noSuchFileOrDirectory)
        #expect(failure("@\(path)") == .connectionRefused)
        _ = try listen(at: path)
        #expect(failure(path) == .connectionRefused, "its process is gone")
        #expect(failure("/etc/passwd") == .connectionRefused)
        #expect(failure("/") == .connectionRefused)
        let long = "/" + String(repeating: "x", count: 200)
        for odd in [long, "@" + long, String(long.prefix(108)), "", "relative", "vsock:2:1", "@"] {
            #expect(failure(odd) != nil, "\(odd)")
        }
        #expect(failure(String(long.prefix(107))) == .noSuchFileOrDirectory)
    }

    @Test("After the manager has gone, each notification is an error") func gone() throws {
        let manager: ServiceNotifications
        do {
            let listener = try listen(at: path)
            manager = try ServiceNotifications(to: path)
            withExtendedLifetime(listener.borrowed) {}
        }
        #expect(throws: SystemCallError.self) { try manager.send(["READY=1"]) }
        #expect(!manager.waitUntilRead(within: 0))
    }
}

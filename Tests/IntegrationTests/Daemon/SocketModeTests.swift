// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// The permissions of the clients' socket.
@Suite struct SocketModeTests {
    private func status(_ path: String) throws -> (mode: mode_t, group: gid_t) {
        var status = stat()
        try #require(unsafe stat(path, &status) == 0)
        return (status.st_mode & 0o7777, status.st_gid)
    }

    @Test("Without an option only luod's own user can connect") func closed() async throws {
        let daemon = try await RunningDaemon()
        #expect(try status("\(daemon.state)/liveupdate").mode == 0o600)
    }

    @Test("Another user is refused by default, and admitted with --socket-mode", .requiresRoot) func others()
        async throws
    {
        let closed = try await RunningDaemon()
        #expect(throws: SystemCallError("connect", .permissionDenied)) { try closed.connect(as: nobody) }
        let open = try await RunningDaemon(["--socket-mode", "0666"])
        #expect(try open.connect(as: nobody).status().sessions.isEmpty)
    }

    @Test("--socket-group, by number and by name", .requiresRoot) func group() async throws {
        let byNumber = try await RunningDaemon(["--socket-mode", "0660", "--socket-group", "4711"])
        #expect(try status("\(byNumber.state)/liveupdate") == (0o660, 4711))
        let daemonGroup = try unsafe #require(getgrnam("daemon")).pointee.gr_gid
        let byName = try await RunningDaemon(["--socket-mode", "660", "--socket-group", "daemon"])
        #expect(try status("\(byName.state)/liveupdate") == (0o660, daemonGroup))
    }

    @Test("A group that this user may not give to a file is 77, with one message", .requiresRoot) func foreignGroup()
        async throws
    {
        let room = try TemporaryDirectory()
        unsafe chmod(room.path, 0o777)
        let ended = try await runAsNobody(["luod"]) { _ in ["--state", "\(room.path)/s", "--socket-group", "0"] }
        #expect(ended.status == 77 && ended.output.isEmpty, "\(ended)")
    }

    @Test("A passed socket keeps its mode and its group, and the options have no effect", .requiresRoot)
    func passed()
        async throws
    {
        let daemon = try await RunningDaemon(["--socket-mode", "0666", "--socket-group", "4711"])
        daemon.killEverything()
        try await eventually("the end of all", within: 60) { daemon.processes.isEmpty }
        let path = "\(daemon.state)/liveupdate"
        try FileManager.default.removeItem(atPath: path)
        let listener = try MessageSocket.listen(at: path, mode: [.ownerReadWrite, .groupReadWrite], group: 4712)
        try await daemon.start(passing: [("luod.socket", listener.borrowed)])
        #expect(try daemon.connect().status().keeper == daemon.keeper)
        #expect(try status(path) == (0o660, 4712))
    }
}

// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// Descriptors that luod must not hold.
@Suite struct RefusedDescriptorTests {
    private let daemon: RunningDaemon
    private let client: DaemonClient

    init() async throws {
        daemon = try await RunningDaemon()
        client = try daemon.connect()
    }

    private static let ways: [Call] = [.preserve, .preserveHeld, .check]

    @Test("O_PATH, which gives no right to the file: EBADF", arguments: ways) func onlyPath(call: Call) throws {
        let file = try MemoryFile()
        let path = try findFileBehind("/proc/self/fd/\(file.descriptor.rawValue)")
        let session = try client.create("s")
        #expect(try refusal { try session.preserve(path.borrowed, 1, as: call) } == .badFileDescriptor)
        try session.preserve(file, 1)
        #expect(
            try refusal { try session.preserve(path.borrowed, 1, as: call) } == .fileExists,
            "the token is checked first")
    }

    @Test(
        "The session's own socket, another session's, and the connection: ELOOP; other files: ENOENT",
        arguments: ways)
    func ownSockets(call: Call) throws {
        let expected: Errno = call == .preserveHeld ? .tooManySymbolicLinkLevels : .noSuchFileOrDirectory
        let session = try client.create("s")
        let other = try daemon.connect()
        let theirs = try other.create("t")
        for socket in [session, theirs, client, other] {
            let errno = try refusal { try session.preserve(socket.descriptor, 1, as: call) }
            #expect(errno == expected)
        }
        session.close()
        #expect(try client.status().sessions.map(\.name) == ["t"])
    }

    private func socketPair() throws -> (MemoryFile, MemoryFile) {
        let (one, other) = try MessageSocket.pair()
        return (
            try MemoryFile(taking: OwnedDescriptor(taking: one)), try MemoryFile(taking: OwnedDescriptor(taking: other))
        )
    }

    @Test("A socket of other programs is held") func foreignSocket() throws {
        let ends = try socketPair()
        try client.create("s").preserve(ends.0.descriptor, 1, as: .preserveHeld)
    }

    @Test("A session that holds itself through another socket's queue is ended by force") func hiddenLoop() throws {
        let session = try client.create("s")
        let ends = try socketPair()
        try ends.0.descriptor.send([1], [session.descriptor])
        try session.preserve(ends.1.descriptor, 1, as: .preserveHeld)
        // The session is closed without a shutdown, so the copy in the queue stays.
        try closeDescriptor(session.release())
        #expect(try client.status().sessions.count == 1, "the queue in the session holds the session")
        #expect(try client.remove("s")?.errno == .resourceBusy)
        #expect(try client.remove("s", flags: UpdateCall.force) == nil)
        #expect(try client.status().sessions.isEmpty)
        #expect(try client.create("s").name() == "s")
    }
}

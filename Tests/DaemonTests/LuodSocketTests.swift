// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateDevice
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateDaemon

/// Root and luod's own user have a separate socket, so that other users cannot lock them out by flooding the clients'
/// socket.
@Suite struct LuodSocketTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func listen(_ name: String) throws -> OwnedDescriptor {
        try MessageSocket.listen(at: directory.file(name), mode: [.ownerReadWrite])
    }

    @Test("The socket for root is used where it is served, and the clients' socket otherwise") func choice() throws {
        #expect(throws: SystemCallError("connect", .noSuchFileOrDirectory)) {
            _ = try LuodSocket.connect(to: directory.path)
        }
        let clients = try listen("liveupdate")
        let first = try LuodSocket.connect(to: directory.path)
        #expect(clients.borrowed.isReadable(within: 1000))
        _ = try clients.borrowed.acceptConnection()
        do {
            let root = try listen("root")
            let second = try LuodSocket.connect(to: directory.path)
            #expect(root.borrowed.isReadable(within: 1000) && !clients.borrowed.isReadable(within: 0))
            _ = second.borrowed
        }
        // The name that the earlier luod has left stays.
        let third = try LuodSocket.connect(to: directory.path)
        #expect(clients.borrowed.isReadable(within: 1000))
        _ = (first.borrowed, third.borrowed)
    }

    @Test("A client with patience pings the socket for root") func ping() throws {
        let daemon = try FakeDaemon(on: "root") { request in
            // The pause is longer than the patience of the client.
            if request.number != Call.ping.rawValue { usleep(1_500_000) }
            return [.init(request.answer())]
        }
        let patience = AnswerPatience(state: FilePath(daemon.state), seconds: 1)
        let device = try LiveUpdateDevice.luod(state: FilePath(daemon.state), patience: patience)
        #expect(throws: Never.self) { try device.act(as: 7) }
        withExtendedLifetime(daemon) {}
    }

    @Test("The gate uses the socket for root") func gate() throws {
        let daemon = try FakeDaemon(on: "root") { request in
            [.init(request.answer(body: FileCall(token: 5, descriptor: DescriptorRole.incoming.rawValue).body))]
        }
        #expect(try GateLink(StateDirectory(daemon.state)).role(of: 5) == .incoming)
        withExtendedLifetime(daemon) {}
    }
}

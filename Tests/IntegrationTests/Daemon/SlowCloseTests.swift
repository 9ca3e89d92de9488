// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// A last close that sleeps for a minute delays no client. In each test luod has the last copy of the descriptor.
@Suite struct SlowCloseTests {
    /// The ways in which luod gets to close the last copy.
    enum Way: CaseIterable {
        case check, refusedPreserve, unpreserve, sessionEnd, forcedRemoval, queuedInConnection, moreThanOne
    }

    @Test("luod makes the last close of a lingering socket, and serves others meanwhile", arguments: Way.allCases)
    func lingering(way: Way) async throws {
        let daemon = try await RunningDaemon()
        let hostile = try daemon.connect()
        let session = try hostile.create("s")
        let peer = try passLingeringSocket(way, hostile, session)
        defer { _ = peer }
        let other = try daemon.connect()
        for round in 0..<3 {
            let own = try other.create("service \(round)")
            try own.preserve(try MemoryFile(), 1)
            own.close()
            _ = try answerSoon(other, .status, WordCall().body)
        }
        // The exit of the orchestrator closes the remaining descriptors, and does not delay the next orchestrator.
        kill(try other.status().orchestrator, SIGKILL)
        _ = try answerSoon(other, .status, WordCall().body)
    }

    @Test("SIGTERM ends luod at once, despite unaccepted connections and their messages") func unaccepted()
        async throws
    {
        let daemon = try await RunningDaemon()
        let orchestrator = try daemon.connect().status().orchestrator
        kill(orchestrator, SIGSTOP)
        let (number, peer) = try LingeringConnection.make()
        defer { _ = peer }
        let client = try daemon.connect()
        try client.ask(.ping, WordCall().body, number)
        try closeDescriptor(number)
        client.close()
        let began = monotonicNanoseconds()
        #expect(try await daemon.end().status == 0)
        #expect(monotonicNanoseconds() - began < 30_000_000_000)
    }

    @Test("A sleeping close in the keeper fills it with pending closes, and ends no process", .requiresRoot)
    func keeperIsFull() async throws {
        let daemon = try await RunningDaemon(
            ["--socket-mode", "0666", "--max-descriptors", "512", "--max-user-descriptors", "100"])
        let (root, hostile) = (try daemon.connect(), try daemon.connect(as: nobody))
        let before = try root.status()
        let session = try hostile.create("s")
        let peer = try sleepInKeeper(session, keeper: daemon.keeper)
        defer { _ = peer }
        // Each file takes a descriptor of the keeper until the sleeping close is done.
        let file = try MemoryFile()
        for _ in 0..<2000 {
            guard try isDone(session, .preserve, file.descriptor), try isDone(session, .unpreserve) else { break }
        }
        let own = try root.create("root")
        try own.preserve(try MemoryFile(), 1)
        let after = try root.status()
        #expect(after.keeper == before.keeper && after.orchestrator == before.orchestrator)
        #expect(try root.change(.update) == nil)
        kill(try root.status().orchestrator, SIGKILL)
        #expect(try root.status().keeper == before.keeper)
        let lines = try daemon.log().split(separator: "\n").filter {
            $0.contains(" warning ") || $0.contains(" error ")
        }
        #expect(lines.count == 1, "only the death of the orchestrator")
        #expect(try await daemon.end().status == 0)
    }

    /// Lets the orchestrator close its copy of a lingering socket, and then the keeper the last copy.
    private func sleepInKeeper(_ session: DaemonClient, keeper: pid_t) throws -> MemoryFile {
        let (number, peer) = try LingeringConnection.make()
        let (reading, writing) = try MessageSocket.pair()
        try writing.send([1], [number])
        try closeDescriptor(number)
        try session.preserve(reading, 0, as: .preserveHeld)
        for end in [reading, writing] { try closeDescriptor(end) }
        kill(keeper, SIGSTOP)
        defer { kill(keeper, SIGCONT) }
        try session.unpreserve(0)
        usleep(100_000)
        return peer
    }

    /// Whether the call succeeded soon.
    private func isDone(_ session: DaemonClient, _ call: Call, _ file: FileDescriptor? = nil) throws -> Bool {
        let tag = try session.ask(call, FileCall(token: 1).body, file)
        guard let (response, _) = try? session.answer(to: tag, within: 500) else { return false }
        return response.result == 0
    }

    /// Makes a call that must be answered in half the time of the close.
    private func answerSoon(_ client: DaemonClient, _ call: Call, _ body: [UInt8]) throws -> Response {
        let (response, descriptors) = try client.answer(to: try client.ask(call, body), within: 30_000)
        for descriptor in descriptors { try closeDescriptor(descriptor) }
        return response
    }

    /// - Returns: the peer, which does not read.
    private func passLingeringSocket(_ way: Way, _ client: DaemonClient, _ session: DaemonClient) throws -> MemoryFile {
        let (number, peer) = try LingeringConnection.make()
        switch way {
        case .check: #expect(try refusal { try session.preserve(number, 1, as: .check) } == .noSuchFileOrDirectory)
        case .refusedPreserve: #expect(try refusal { try session.preserve(number, 1) } == .noSuchFileOrDirectory)
        case .unpreserve, .sessionEnd, .forcedRemoval: try session.preserve(number, 1, as: .preserveHeld)
        case .queuedInConnection: for _ in 0..<40 { try client.ask(.ping, WordCall().body, number) }
        case .moreThanOne: try client.descriptor.send([1, 2, 3], [number, number, number])
        }
        try closeDescriptor(number)
        switch way {
        case .unpreserve: try session.unpreserve(1)
        case .sessionEnd: session.close()
        case .forcedRemoval: #expect(try client.remove("s", flags: UpdateCall.force) == nil)
        case .queuedInConnection: client.close()
        default: break
        }
        return peer
    }
}

/// A TCP connection on loopback. Its close waits a minute, because its peer reads nothing.
private enum LingeringConnection {
    /// - Returns: the end with the waiting close, which the caller must close, and its peer.
    static func make() throws -> (FileDescriptor, peer: MemoryFile) {
        let listener = try tcpSocket()
        var address = loopback()
        try unsafe withAddress(&address) { address, length in
            try systemCall("bind") { unsafe bind(listener.borrowed.rawValue, address, length) }
        }
        try systemCall("listen") { listen(listener.borrowed.rawValue, 1) }
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        try unsafe withAddress(&address) { address, _ in
            try systemCall("getsockname") { unsafe getsockname(listener.borrowed.rawValue, address, &length) }
        }
        let socket = try tcpSocket()
        try unsafe withAddress(&address) { address, length in
            try systemCall("connect") { unsafe connect(socket.borrowed.rawValue, address, length) }
        }
        let accepted = try systemCall("accept") { accept(listener.borrowed.rawValue, nil, nil) }
        var lingering = linger(l_onoff: 1, l_linger: 60)
        try systemCall("setsockopt") {
            unsafe setsockopt(
                socket.borrowed.rawValue, SOL_SOCKET, SO_LINGER, &lingering, socklen_t(MemoryLayout<linger>.size))
        }
        try socket.borrowed.setNonBlocking()
        let bytes = [UInt8](repeating: 0, count: 1 << 20)
        while unsafe write(socket.borrowed.rawValue, bytes, bytes.count) > 0 {}
        let peer = try MemoryFile(taking: OwnedDescriptor(taking: FileDescriptor(rawValue: accepted)))
        return (socket.release(), peer)
    }

    private static func tcpSocket() throws -> OwnedDescriptor {
        let number = try systemCall("socket") { socket(AF_INET, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0) }
        return OwnedDescriptor(taking: FileDescriptor(rawValue: number))
    }

    private static func loopback() -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return address
    }

    @unsafe
    private static func withAddress(
        _ address: inout sockaddr_in, _ body: (UnsafeMutablePointer<sockaddr>, socklen_t) throws -> Void
    ) throws {
        try unsafe withUnsafeMutablePointer(to: &address) { pointer in
            // SAFETY: a sockaddr_in is a sockaddr of its family.
            try unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                try unsafe body(address, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }
}

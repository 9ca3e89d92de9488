// SPDX-License-Identifier: Apache-2.0
import Glibc
import ListenerHandlers
import LiveUpdate
import Testing

/// A simulated machine with the handlers of this package, and a place for its sockets.
final class Machine: Sendable {
    private let simulated: SimulatedMachine
    private let directory: FilePath
    static let backlog: UInt32 = 3

    init() throws {
        simulated = try SimulatedMachine(arena: Arena.Options(initialSize: 1 << 20))
        var template = Array("/tmp/listenersXXXXXX".utf8CString)
        try systemCall("mkdtemp") { unsafe mkdtemp(&template) == nil ? -1 : 0 }
        directory = FilePath(platformString: template)
    }

    deinit {
        _ = unsafe path.withPlatformString { unsafe unlink($0) }
        _ = unsafe directory.withPlatformString { unsafe rmdir($0) }
    }

    /// The path of its Unix socket.
    var path: FilePath { directory.appending("socket") }

    /// A boot that knows only the arena and the held descriptors.
    func boot(_ process: SimulatedProcess? = nil) throws -> Orchestrator {
        try simulated.boot(process) { (luo) throws(LiveUpdateError) in
            try luo.registerListenerHandlers(backlog: Self.backlog)
        }
    }

    /// Simulates the death of every process that held the sockets.
    func loseDescriptors() { simulated.loseDescriptors() }

    func address(_ kind: Kind) throws -> SocketAddress {
        switch kind {
        case .tcp: .loopback(port: 0)
        case .unix: try #require(SocketAddress.unix(path))
        }
    }

    /// Makes a listening socket at an address of its own.
    func listener(_ kind: Kind) throws -> Socket {
        Socket(try listen(at: address(kind), backlog: Self.backlog, [.nonBlocking, .reuseAddress]))
    }
}

enum Kind: String, Codable, CaseIterable, Sendable {
    case tcp, unix
}

/// A socket of a test. It is closed with the last reference to this object.
final class Socket: Sendable {
    private let owned: OwnedDescriptor

    init(_ owned: consuming OwnedDescriptor) { self.owned = owned }

    var descriptor: FileDescriptor { owned.borrowed }
    var address: SocketAddress { get throws { try descriptor.socketAddress() } }

    /// Releases the socket before this object. The object keeps the number, which then refers to /dev/null. A second
    /// close could close a descriptor of another test.
    func lose() throws {
        let null = try FileDescriptor.open(FilePath("/dev/null"), .readOnly, options: .closeOnExec)
        defer { try? null.close() }
        _ = try null.duplicate(as: descriptor)
    }

    /// Accepts the next client in the queue, and returns its message.
    func nextClient() throws -> String {
        let client = try descriptor.acceptClient()
        var bytes = [UInt8](repeating: 0, count: 64)
        let count = try unsafe bytes.withUnsafeMutableBytes { try unsafe client.borrowed.read(into: $0) }
        return String(decoding: bytes.prefix(count), as: UTF8.self)
    }

    /// The number of clients that may wait, up to 16. For TCP the kernel reports it (`tcpi_sacked` of a listening
    /// socket), and for Unix sockets the test tries it.
    func backlog() throws -> UInt32 {
        min(try address.path == nil ? tcpBacklog() : unixBacklog(), Self.most)
    }

    static let most: UInt32 = 16

    private func tcpBacklog() throws -> UInt32 {
        var info = [UInt8](repeating: 0, count: 256)
        var length = socklen_t(info.count)
        try systemCall("getsockopt") {
            unsafe getsockopt(descriptor.rawValue, CInt(IPPROTO_TCP), TCP_INFO, &info, &length)
        }
        var reader = ByteReader(info[28..<32], "tcp_info")
        return try reader.take()
    }

    private func unixBacklog() throws -> UInt32 {
        var clients: [Socket] = []
        while clients.count <= Self.most, let client = try? client(of: address) { clients.append(client) }
        for _ in clients { _ = try descriptor.acceptClient() }
        // The kernel accepts one more client than the backlog.
        return UInt32(clients.count - 1)
    }
}

/// Waits for the last close of a listener. A process that another test starts has a copy of the listener until its
/// execve(2).
func waitUntilNothingListens(at address: SocketAddress) throws {
    for _ in 0..<1000 {
        do throws(SystemCallError) {
            _ = try connect(to: address, nonBlocking: address.path != nil)
        } catch {
            if [.connectionRefused, .noSuchFileOrDirectory].contains(error.errno) { return }
        }
        usleep(10_000)
    }
    Issue.record("something listens at \(address) after 10 s")
}

/// Connects without waiting for room in the queue.
func client(of address: SocketAddress, saying text: String = "") throws -> Socket {
    let client = Socket(try connect(to: address, nonBlocking: address.path != nil))
    try client.descriptor.writeAll(Array(text.utf8))
    return client
}

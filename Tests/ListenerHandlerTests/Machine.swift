import Glibc
import ListenerHandlers
import LiveUpdateEmbedded
import Testing

/// A simulated machine with the handlers of this package, and a place for its sockets.
final class Machine: Sendable {
    private let simulated: SimulatedMachine
    private let directory: FilePath
    static let backlog: UInt32 = 3

    init() throws {
        simulated = try SimulatedMachine(arena: Arena.Options(initialSize: 1 << 20))
        directory = FilePath(try makeTemporaryDirectory("/tmp/listeners"))
    }

    deinit {
        _ = unsafe path.withPlatformString { unsafe unlink($0) }
        _ = unsafe directory.withPlatformString { unsafe rmdir($0) }
    }

    /// Where its Unix socket is.
    var path: FilePath { directory.appending("socket") }

    /// A boot that knows only the arena and the held descriptors.
    func boot(_ process: SimulatedProcess? = nil) throws -> Orchestrator {
        try simulated.boot(process) { (luo) throws(LiveUpdateError) in
            try luo.registerListenerHandlers(backlog: Self.backlog)
        }
    }

    /// As if every process that held the sockets had died.
    func loseDescriptors() { simulated.loseDescriptors() }

    func address(_ kind: Kind) throws -> SocketAddress {
        switch kind {
        case .tcp: .loopback(port: 0)
        case .unix: try #require(SocketAddress.unix(path))
        }
    }

    /// A socket that listens, at an address of its own.
    func listener(_ kind: Kind) throws -> Socket {
        Socket(try listen(at: address(kind), backlog: Self.backlog, [.nonBlocking, .reuseAddress]))
    }
}

enum Kind: String, Codable, CaseIterable, Sendable {
    case tcp, unix
}

/// A socket of a test, closed with the last reference to it.
final class Socket: Sendable {
    private let owned: OwnedDescriptor

    init(_ owned: consuming OwnedDescriptor) { self.owned = owned }

    /// Takes over a descriptor that came back.
    convenience init(taking descriptor: FileDescriptor) { self.init(OwnedDescriptor(taking: descriptor)) }

    var descriptor: FileDescriptor { owned.borrowed }
    var address: SocketAddress { get throws { try descriptor.socketAddress() } }

    /// Lets go of the socket before this object goes. The number stays this object's, and means /dev/null: closed twice, it
    /// would be another test's by then.
    func lose() throws {
        let null = try FileDescriptor.open(FilePath("/dev/null"), .readOnly, options: .closeOnExec)
        defer { try? null.close() }
        _ = try null.duplicate(as: descriptor)
    }

    /// What the next client says, who waits in the queue.
    func nextClient() throws -> String {
        let client = try descriptor.acceptClient()
        var bytes = [UInt8](repeating: 0, count: 64)
        let count = try unsafe bytes.withUnsafeMutableBytes { try unsafe client.borrowed.read(into: $0) }
        return String(decoding: bytes.prefix(count), as: UTF8.self)
    }

    /// How many clients may wait, up to 16: of TCP the kernel tells (`tcpi_sacked` of a socket that listens), of Unix it is
    /// tried.
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
        // One more than it says is let in.
        return UInt32(clients.count - 1)
    }
}

/// Waits for the last close of a listener. A process that another test starts has a copy of it until its execve(2).
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

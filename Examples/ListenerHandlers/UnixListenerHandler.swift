// SPDX-License-Identifier: Apache-2.0
import Glibc
public import LiveUpdateCore

/// Preserves listening Unix sockets: unix(7). It works like ``TCPListenerHandler``. Such a socket can have a name in
/// the file system, which can be removed while the socket lives. The handler then opens a new socket with that name.
public final class UnixListenerHandler: FileHandler {
    public let compatible = "com.example.unix-listener-v2"
    private let network: Network
    private let backlog: UInt32

    /// Makes the handler.
    ///
    /// - Parameters:
    ///   - network: the FLB on which its files depend.
    ///   - backlog: how many clients may wait, as in listen(2).
    public init(_ network: Network, backlog: UInt32) {
        self.network = network
        self.backlog = backlog
    }

    public func canPreserve(_ descriptor: FileDescriptor) -> Acceptance {
        Listener.canPreserve(descriptor, family: AF_UNIX)
    }

    public func identity(of descriptor: FileDescriptor) -> FileIdentity? { Listener.identity(of: descriptor) }

    public func preserve(_ file: FileContext) throws(LiveUpdateError) -> UInt64 {
        try file.preserveListener(backlog: backlog)
    }

    public func unpreserve(_ file: FileContext) {}

    public func freeze(_ file: FileContext) throws(LiveUpdateError) -> UInt64 { try file.freezeListener(network) }

    public func unfreeze(_ file: FileContext) { file.unfreezeListener() }

    public func reopen(_ file: FileContext) throws(LiveUpdateError) -> FileDescriptor? {
        try file.openListenerAnew(network)
    }

    /// Retrieves the socket. If its name is gone, no client can find it, so a new one is opened with that name. The
    /// held socket is closed then, and the clients that waited at it are refused.
    ///
    /// The kernel does not tell whether a socket of that name is this one. So the handler does not notice if another
    /// program has bound the name meanwhile.
    public func retrieve(_ file: FileContext) throws(LiveUpdateError) -> RetrievedFile {
        let address = try file.listener().address(in: file.storage)
        guard let path = address.path else { return try file.retrieveListener() }
        switch try file.look(at: path) {
        case .socket: return try file.retrieveListener()
        case .nothing: return .opened(try file.openListenerAnew(network))
        case .somethingElse:
            throw LiveUpdateError(
                .staleNFSFileHandle, "token \(file.token): \(path) is not a socket any more",
                remedy: "move the file with that name away, and listen there again")
        }
    }

    public func canFinish(_ file: FileContext) -> Bool { file.canFinishListener }

    public func finish(_ file: FileContext) {}
}

extension FileContext {
    /// The file that has a name.
    func look(at path: FilePath) throws(LiveUpdateError) -> SocketName {
        do {
            return try SocketName(path)
        } catch {
            throw LiveUpdateError(error, "token \(token): looking at \(path)")
        }
    }
}

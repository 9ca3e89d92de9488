import Glibc
public import LiveUpdate

/// Preserves Unix sockets that listen: unix(7). As ``TCPListenerHandler``, and they can have a name in the file system,
/// which can be lost while the socket lives: a socket whose name was removed is opened anew under it.
public final class UnixListenerHandler: FileHandler {
    public let compatible = "com.example.unix-listener-v1"
    private let network: Network
    private let backlog: UInt32

    /// Makes the handler.
    ///
    /// - Parameters:
    ///   - network: the FLB that is linked to it.
    ///   - backlog: how many clients may wait, as the program tells listen(2).
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

    /// A socket whose name is gone is one that no client finds: a new one is opened there. The kept one is closed then,
    /// with those who waited at it.
    ///
    /// Whether a socket of that name is this one, the kernel does not tell a descriptor's owner: a name that another
    /// program has bound by now is not noticed.
    public func retrieve(_ file: FileContext) throws(LiveUpdateError) -> RetrievedFile {
        let address = try file.listener().address(in: file.storage)
        guard let path = address.path else { return try file.retrieveListener() }
        switch try file.look(at: path) {
        case .socket: return try file.retrieveListener()
        case .nothing: return .opened(try file.openListenerAnew(network))
        case .somethingElse:
            throw LiveUpdateError(
                .staleNFSFileHandle, "token \(file.token): \(path) is not a socket any more",
                remedy: "move away what has that name, and listen there anew")
        }
    }

    public func canFinish(_ file: FileContext) -> Bool { file.canFinishListener }

    public func finish(_ file: FileContext) {}
}

extension FileContext {
    /// What a name leads to.
    func look(at path: FilePath) throws(LiveUpdateError) -> SocketName {
        do {
            return try SocketName(path)
        } catch {
            throw LiveUpdateError(error, "token \(token): looking at \(path)")
        }
    }
}

public import LiveUpdate

/// What listening sockets have in common: the network that they are in.
public struct NetworkState: StoredRecord, Equatable, Sendable {
    public static let name = "network"
    public static let length = 24

    /// Device and inode of the network namespace: namespaces(7).
    public let namespace: FileIdentity
    /// `net.core.somaxconn`: how many clients may wait at one socket, at most.
    public let backlogLimit: UInt32
    /// Sockets that travel, of all kinds; 0 before an update is published.
    public internal(set) var listeners: UInt32 = 0

    /// The network of this process, now.
    ///
    /// - Throws: ENOENT without /proc, EMFILE.
    public init() throws(LiveUpdateError) {
        do throws(SystemCallError) {
            let file = try openFile("/proc/self/ns/net")
            namespace = try FileStatus(of: file.borrowed).identity
            backlogLimit = UInt32(clamping: try readNumber("/proc/sys/net/core/somaxconn"))
        } catch {
            throw LiveUpdateError(error, "looking at the network")
        }
    }

    public init(_ reader: inout ByteReader) throws(ArenaError) {
        namespace = FileIdentity(device: try reader.take(), inode: try reader.take())
        backlogLimit = try reader.take()
        listeners = try reader.take()
    }

    public func encode(into writer: inout ByteWriter) {
        writer.put(namespace.device)
        writer.put(namespace.inode)
        writer.put(backlogLimit)
        writer.put(listeners)
    }

    /// Whether a socket that is opened now is in the network that this one was.
    ///
    /// - Throws: ESTALE when it is not: its clients would look for it elsewhere.
    func checkNamespace() throws(LiveUpdateError) {
        let now = try NetworkState()
        guard now.namespace == namespace else {
            throw LiveUpdateError(
                .staleNFSFileHandle,
                "network namespace \(now.namespace.inode), where \(namespace.inode) had the listening sockets",
                remedy: "start the program in the namespace that it was in")
        }
    }
}

/// The FLB of both handlers. The first listening socket records the network, the last one lets it go.
public final class Network: FileLifecycleBound {
    public let compatible = "com.example.network-v1"

    /// Makes the FLB; it keeps nothing.
    public init() {}

    public func preserve(_ context: FLBContext) throws(LiveUpdateError) -> (data: UInt64, object: NetworkState) {
        let state = try NetworkState()
        return (try context.storage.store(state), state)
    }

    public func unpreserve(_ object: NetworkState, _ context: FLBContext) {}

    /// What travels is derived from the files that do, in each update anew: so nothing has to be counted along the way.
    public func serialize(_ object: NetworkState, _ context: FLBContext) throws(LiveUpdateError) -> UInt64 {
        var state = object
        state.listeners = UInt32(context.users.count)
        return try context.storage.store(state)
    }

    public func retrieve(_ context: FLBContext) throws(LiveUpdateError) -> NetworkState {
        try context.storage.read(at: context.data)
    }

    public func finish(_ object: NetworkState, _ context: FLBContext) {}

    /// After a crash, in the boot that had the object: from the handle alone.
    public func resume(_ context: FLBContext) throws(LiveUpdateError) -> NetworkState {
        try context.storage.read(at: context.data)
    }
}

extension FileContext {
    /// The network that the file was preserved in: in this boot, when it goes on after a crash, or in the one before.
    func network(_ network: Network) throws(LiveUpdateError) -> NetworkState {
        if let own = try flbs.withOutgoing(network, { $0 }) { return own }
        return try flbs.withIncoming(network) { $0 }
    }
}

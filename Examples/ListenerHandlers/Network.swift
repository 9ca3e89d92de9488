// SPDX-License-Identifier: Apache-2.0
public import LiveUpdateCore

/// The network of listening sockets, which is the same for all of them.
public struct NetworkState: StoredRecord, Equatable, Sendable {
    public static let name = "network"
    public static let length = 24

    /// The device and inode of the network namespace: namespaces(7).
    public let namespace: FileIdentity
    /// The most clients that may wait at one socket: `net.core.somaxconn`.
    public let backlogLimit: UInt32
    /// How many listening sockets the update hands over, of all kinds; 0 before an update is published.
    public internal(set) var listeners: UInt32 = 0

    /// Reads the network of this process.
    ///
    /// - Throws: ENOENT without /proc, EMFILE.
    public init() throws(LiveUpdateError) {
        do throws(SystemCallError) {
            namespace = try FileStatus(at: "/proc/self/ns/net").identity
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

    /// Checks that a socket that is opened now would be in this network.
    ///
    /// - Throws: ESTALE when it would be in another one, where its clients would not find it.
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

/// The FLB of both handlers. The first listening socket records the network, and the last one releases it.
public final class Network: FileLifecycleBound {
    public let compatible = "com.example.network-v1"

    /// Makes the FLB, which records nothing yet.
    public init() {}

    public func preserve(_ context: FLBContext) throws(LiveUpdateError) -> (data: UInt64, object: NetworkState) {
        let state = try NetworkState()
        return (try context.storage.store(state), state)
    }

    public func unpreserve(_ object: NetworkState, _ context: FLBContext) {}

    /// Stores the state with the number of sockets. Each update counts its files again, so no counter has to be
    /// maintained.
    public func serialize(_ object: NetworkState, _ context: FLBContext) throws(LiveUpdateError) -> UInt64 {
        var state = object
        state.listeners = UInt32(context.users.count)
        return try context.storage.store(state)
    }

    public func retrieve(_ context: FLBContext) throws(LiveUpdateError) -> NetworkState {
        try context.storage.read(at: context.data)
    }

    public func finish(_ object: NetworkState, _ context: FLBContext) {}

    /// Restores the object from its handle after a crash, in the boot that had the object.
    public func resume(_ context: FLBContext) throws(LiveUpdateError) -> NetworkState {
        try context.storage.read(at: context.data)
    }
}

extension FileContext {
    /// The network that the file was preserved in. It belongs to this boot when the boot continues after a crash,
    /// otherwise to the one before.
    func network(_ network: Network) throws(LiveUpdateError) -> NetworkState {
        if let own = try flbs.withOutgoing(network, { $0 }) { return own }
        return try flbs.withIncoming(network) { $0 }
    }
}

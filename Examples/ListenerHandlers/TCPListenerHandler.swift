// SPDX-License-Identifier: Apache-2.0
import Glibc
public import LiveUpdateCore

/// Preserves listening TCP sockets of IPv4: tcp(7). Clients that connect during an update wait in the socket's queue,
/// and the next boot accepts them.
///
/// When every process has died, the socket is gone. The handler then opens a new one at its address, from the arena
/// alone. Its files depend on ``Network``.
public final class TCPListenerHandler: FileHandler {
    public let compatible = "com.example.tcp-listener-v2"
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
        Listener.canPreserve(descriptor, family: AF_INET)
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

    public func retrieve(_ file: FileContext) throws(LiveUpdateError) -> RetrievedFile { try file.retrieveListener() }

    public func canFinish(_ file: FileContext) -> Bool { file.canFinishListener }

    public func finish(_ file: FileContext) {}
}

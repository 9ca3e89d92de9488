// SPDX-License-Identifier: Apache-2.0
public import LiveUpdateCore

extension Orchestrator {
    /// Registers both handlers, and the FLB that both depend on. Every boot makes the same calls.
    ///
    /// - Parameter backlog: how many clients may wait at a socket, as in listen(2).
    /// - Returns: the FLB, for its getters.
    /// - Throws: as ``register(_:)`` and ``register(_:on:)``.
    @discardableResult
    public func registerListenerHandlers(backlog: UInt32) throws(LiveUpdateError) -> Network {
        let network = Network()
        let handlers: [any FileHandler] = [
            TCPListenerHandler(network, backlog: backlog), UnixListenerHandler(network, backlog: backlog),
        ]
        for handler in handlers {
            try register(handler)
            try register(network, on: handler)
        }
        return network
    }
}

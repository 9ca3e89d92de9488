// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore

/// The checks that both handlers share. Their work on a file is in the extension below.
enum Listener {
    static func canPreserve(_ descriptor: FileDescriptor, family: CInt) -> Acceptance {
        do throws(SystemCallError) {
            guard try descriptor.option(SO_ACCEPTCONN) != 0 else { return .refused(because: "it does not listen") }
            guard try descriptor.option(SO_DOMAIN) == family else {
                return .refused(because: "a listening socket of another family")
            }
            // Several sockets could share one address then, and identity(of:) could not tell them apart.
            guard try descriptor.option(SO_REUSEPORT) == 0 else { return .refused(because: "SO_REUSEPORT is set") }
            guard try descriptor.socketAddress().path?.isAbsolute != false else {
                return .refused(because: "its name is relative, and would be another one in another directory")
            }
            return .accepted
        } catch {
            return .refused(because: "\(error)")
        }
    }

    static func identity(of descriptor: FileDescriptor) -> FileIdentity? {
        (try? descriptor.socketAddress()).flatMap { SocketAddress(recorded: $0.bytes) }?.identity
    }
}

extension FileContext {
    /// - Throws: EBADF when the socket was lost with the last process that held it, and could not be opened again.
    private func socket() throws(LiveUpdateError) -> FileDescriptor {
        guard let descriptor else {
            throw LiveUpdateError(
                .badFileDescriptor, "the listening socket of token \(token) is gone with the last process that held it",
                remedy: "listen again")
        }
        return descriptor
    }

    /// The record that ``data`` names.
    func listener() throws(LiveUpdateError) -> ListenerRecord { try storage.read(at: data) }

    /// Records the address and the options of the socket. The program can still accept clients while the socket is
    /// preserved.
    func preserveListener(backlog: UInt32) throws(LiveUpdateError) -> UInt64 {
        let socket = try socket()
        let found: (address: SocketAddress, options: ListenerOptions, permissions: UInt32)
        do throws(SystemCallError) {
            let address = try socket.socketAddress()
            found = (address, try socket.listenerOptions(), try permissions(address))
        } catch {
            throw LiveUpdateError(error, "describing the listening socket of token \(token)")
        }
        let record = try ListenerRecord(
            backlog: backlog, options: found.options, permissions: found.permissions, address: found.address,
            in: storage)
        return try storage.store(record)
    }

    private func permissions(_ address: SocketAddress) throws(SystemCallError) -> UInt32 {
        guard let path = address.path, case .socket(let permissions) = try SocketName(path) else { return 0 }
        return permissions
    }

    /// Stores the options again if they have changed, and lets as many clients wait as the network allows. No process
    /// accepts until the next boot does. A client that finds the queue full is refused, or tries again a second later.
    func freezeListener(_ network: Network) throws(LiveUpdateError) -> UInt64 {
        let socket = try socket()
        var record = try listener()
        let before = record
        let limit = try flbs.withOutgoing(network) { $0?.backlogLimit ?? 0 }
        do throws(SystemCallError) {
            record.options = try socket.listenerOptions()
        } catch {
            throw LiveUpdateError(error, "freezing the listening socket of token \(token)")
        }
        var handle = data
        if record != before {
            storage.drop(data)
            handle = try storage.store(record)
        }
        // Last, because a freeze that fails is not unfrozen: it must have changed nothing.
        do throws(SystemCallError) {
            try socket.listen(backlog: max(limit, record.backlog))
        } catch {
            throw LiveUpdateError(error, "freezing the listening socket of token \(token)")
        }
        return handle
    }

    /// Undoes a freeze after the update was stopped. This may be called twice, when a process dies during the update.
    func unfreezeListener() {
        guard let record = try? listener() else { return }
        try? descriptor?.listen(backlog: record.backlog)
    }

    /// Undoes the effect of the freeze. The socket itself was held, so nothing else is needed.
    func retrieveListener() throws(LiveUpdateError) -> RetrievedFile {
        let socket = try socket()
        let record = try listener()
        do throws(SystemCallError) {
            try socket.listen(backlog: record.backlog)
        } catch {
            throw LiveUpdateError(error, "retrieving the listening socket of token \(token)")
        }
        return .kept
    }

    /// Whether the socket may be closed: if it was not retrieved, no client may be waiting, because the client would be
    /// refused.
    var canFinishListener: Bool { retrieveStatus == .done || descriptor?.hasClient != true }

    /// Opens a socket with the preserved address, options and permissions. Clients that waited at the old one are lost.
    func openListenerAnew(_ network: Network) throws(LiveUpdateError) -> FileDescriptor {
        let record = try listener()
        let address = try record.address(in: storage)
        try self.network(network).checkNamespace()
        do throws(SystemCallError) {
            try SocketName.removeIfDead(address)
            let socket = try listen(at: address, backlog: record.backlog, record.options)
            if let path = address.path { try SocketName.setPermissions(path, record.permissions) }
            return socket.release()
        } catch {
            throw LiveUpdateError(error, "token \(token): listening at \(address) again")
        }
    }
}

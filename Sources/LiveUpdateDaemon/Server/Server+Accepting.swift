import LiveUpdate
import LiveUpdateProtocol
import Platform
import SystemPackage

/// Who connects: within the limits, and while there are descriptors.
extension Server {
    /// - Returns: whether somebody was there.
    func acceptClient(_ listener: FileDescriptor) -> Bool {
        // The rest is for messages of the clients that are there.
        guard store.count < quota.mostWithRefused else {
            rest(SystemCallError("accept4", .tooManyOpenFiles))
            return false
        }
        let accepted: OwnedDescriptor
        do throws(SystemCallError) {
            accepted = try listener.acceptConnection()
        } catch {
            // Who connected went, or another process took it: the next one is told of.
            let passing: [Errno] = [.resourceTemporarilyUnavailable, .connectionAbort, .interrupted]
            if !passing.contains(error.errno) { rest(error) }
            return false
        }
        hold(accepted)
        return true
    }

    /// Holds a client's connection, within the user's limits.
    private func hold(_ accepted: consuming OwnedDescriptor) {
        let user = (try? accepted.borrowed.peer())?.user ?? .max
        guard quota.hasRoomForConnection(of: user, usage(of: user)) else {
            try? accepted.borrowed.send(Response(refusingWith: -Errno.tooManyOpenFiles.rawValue).bytes)
            let refused = accepted.release()
            drain(refused, of: user)
            return store.close([refused], of: user)
        }
        let slot: DescriptorSlot
        do throws(SystemCallError) {
            slot = try store.take(accepted, .client, KeepLabel(user: user))
        } catch {
            return rest(error)
        }
        hasFoundNoRoom = false
        do {
            guard let descriptor = store.descriptor(in: slot) else { return }
            try addClient(descriptor, slot)
        } catch {
            log.say("a connection of user \(user) was not accepted: \(error)")
            store.release(slot)
            store.flush()
        }
    }

    /// Takes out of an own socket that is to be closed what its client has sent. The closer can then switch off SO_LINGER of each
    /// descriptor; as a part of the queue, it would keep the close of the socket itself waiting.
    func drain(_ socket: FileDescriptor, of user: SessionOwner) {
        socket.shutDown()
        // A queue of sockets has room for some hundred messages.
        for _ in 0..<512 where store.pendingCloses(of: user) < Quota.mostPending {
            guard let message = try? socket.receive(.now) else { return }
            store.close(message.descriptors, of: user)
        }
    }

    /// The counts of a user that ``Quota`` does not have.
    func usage(of user: SessionOwner) -> Quota.Usage {
        let held = orchestrator.usage(of: user)
        return Quota.Usage(
            process: store.count, held: held.sessions + held.files, closing: store.closing(of: user))
    }

    /// Without a descriptor for them, those that wait would wake this process for ever: they wait until something else has
    /// happened, or a moment.
    private func rest(_ error: SystemCallError) {
        if !hasFoundNoRoom {
            log.say("no client can connect until descriptors are free (luod --max-descriptors N, ulimit -n): \(error)")
        }
        hasFoundNoRoom = true
        accept(again: false)
    }

    func accept(again: Bool) {
        guard let listener = store.descriptor(.listener) else { return }
        isAccepting = again
        try? poller.change(listener, to: again ? .reading : .ending)
    }
}

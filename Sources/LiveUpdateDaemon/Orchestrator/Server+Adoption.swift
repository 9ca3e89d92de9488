import Glibc
import LiveUpdate
import Platform
import SystemPackage

/// How another keeper takes the place of one that died.
extension Server {
    /// Whoever connects to the control socket is root: its permissions see to that.
    func acceptControl(_ listener: FileDescriptor) {
        guard let accepted = try? listener.acceptConnection() else { return }
        let link = ControlLink(accepted)
        // A keeper of another version learns this one, and gives up.
        try? link.send(.hello(.own))
        guard case .hello(let version) = next(of: link), version.isOwn, next(of: link) == .adopt else { return }
        guard keeper == nil else {
            try? link.send(
                .failed("luod runs on this state already: process \((try? keeper?.descriptor.peer().process) ?? 0)"))
            return
        }
        do {
            try link.send(holding: store.all)
            let own = try RunningProcess(getpid())
            try link.send(.adopted(process: own.id, nextSlot: store.nextSlot), [own.descriptor])
            try work.watch(link.descriptor, for: .reading)
            store.use(link)
            keeper = link
            log.say("a new keeper has taken the place of the one that died")
        } catch {
            log.say("a new keeper could not take the place: \(error)")
            try? link.send(.failed("the orchestrator could not give all that it holds to another keeper: \(error)"))
        }
    }

    /// The next message of a keeper that asks at once, or not at all.
    private func next(of link: ControlLink) -> ControlMessage? {
        guard link.descriptor.isReadable(within: 50), let received = try? link.receive(.now) else { return nil }
        for descriptor in received.descriptors { try? closeDescriptor(descriptor) }
        return received.message
    }
}

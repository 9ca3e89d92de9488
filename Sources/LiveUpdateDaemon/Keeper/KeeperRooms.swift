// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// The parts of a keeper. Each part owns its state alone.
struct KeeperRooms {
    let settings: Settings
    let log: Log
    let children: ChildPoller
    let vault: DescriptorVault
    let orchestrator: OrchestratorSupervisor
    let gate: GateSupervisor
    let service: ServiceManager
    let shortage: ShortageReporter
    let starter: StarterWatch
    let kernel: KernelRecord
    /// The memory that the keeper shares with its orchestrators.
    let memory: ControlMemory
    /// The holder of the luod before, if there is one.
    let holder: KernelHolder?

    /// One thread closes descriptors of root, and the others serve one other user each at a time.
    private static let closingThreads = 8

    /// Makes the parts, and starts an orchestrator unless one runs already. `manager` is the service manager that has
    /// started this process; nil without one.
    ///
    /// - Throws: the errors of starting a process and threads; EMFILE, ENOMEM.
    init(
        _ settings: Settings, _ state: TakenState, _ manager: ServiceNotifications?, _ children: ChildPoller, _ log: Log
    ) throws {
        var settings = settings
        if let mode = state.table.clientSocketMode { settings.socketMode = mode }
        if settings.isConfined { try Capabilities.keep(only: Sandbox.capabilities + GateProcess.capabilities) }
        // Threads keep the rights that they begin with, so this comes after the rights are given up.
        let closer = try Closer(threads: Self.closingThreads)
        for one in state.unwanted { closer.close(one.descriptor, of: HeldSlot(storedName: one.name)?.label.user ?? 0) }
        vault = state.table
        vault.closeBy(closer)
        guard let file = vault.descriptor(.memory) else { throw SystemCallError("mmap", .badFileDescriptor) }
        memory = try ControlMemory(file)
        orchestrator = try OrchestratorSupervisor(
            state.running, try state.image(), memory: memory, settings, children, log)
        let store = state.manager(else: manager).map {
            ServiceManagerStore($0, stored: state.stored, stale: state.stale)
        }
        service = ServiceManager(store, vault, log)
        gate = GateSupervisor(settings, vault, orchestrator, memory, children, log)
        shortage = ShortageReporter(vault, orchestrator, children)
        starter = try StarterWatch(
            isAwaited: settings.endsUnused, hasGone: state.replaced?.hasLostStarter ?? false, children)
        kernel = KernelRecord(
            StateDirectory(settings.state).kernel, isOther: state.cameWithKernel, log)
        holder = state.holder
        (self.settings, self.log, self.children) = (settings, log, children)
    }

    /// Hands a new orchestrator all held descriptors, begins to watch it, and takes over the gate.
    func begin(_ state: TakenState) throws {
        if state.running == nil {
            let role = ControlMessage.Role(
                replacing: false, wasInUpdate: false, mustRefuse: false, kernel: kernel.comparison,
                isRestored: !state.stored.isEmpty)
            try vault.handTo(
                orchestrator.current, .begin(role, nextSlot: vault.nextSlot), isStored: service.isStoring)
        }
        for slot in Set(vault.all.map(\.held.slot) + state.stored.map(\.slot)) { service.note(slot) }
        try children.watch(orchestrator.current)
        if let found = state.replaced?.gate { try gate.take(found) }
        gate.resume()
        if state.running != nil { try? orchestrator.current.link.send(.stored(service.isStoring)) }
    }
}

extension TakenState {
    /// The program of orchestrators.
    fileprivate func image() throws(SystemCallError) -> KeptImage {
        guard let replaced else { return try .own() }
        return KeptImage(replaced.image, OwnedDescriptor(taking: FileDescriptor(rawValue: replaced.imageFile)))
    }

    /// The service manager of the keeper's earlier program, or the one that has started this process.
    fileprivate func manager(else started: ServiceNotifications?) -> ServiceNotifications? {
        guard let replaced else { return started }
        return replaced.service.map { ServiceNotifications(taking: FileDescriptor(rawValue: $0.socket)) }
    }
}

extension DescriptorVault {
    /// Hands an orchestrator all held descriptors, and tells it to begin.
    func handTo(_ linked: LinkedProcess, _ begin: ControlMessage, isStored: Bool) throws {
        // The keeper has nothing else to do before the orchestrator runs, however slowly that starts.
        let patience = 30_000
        do throws(SystemCallError) {
            try linked.link.send(.stored(isStored), patience: patience)
            try linked.link.send(holding: all, patience: patience)
            try linked.link.send(begin, patience: patience)
        } catch {
            // The event loop will see that the orchestrator has died.
            guard [.brokenPipe, .connectionReset].contains(error.errno) else { throw error }
        }
    }
}

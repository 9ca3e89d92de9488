// SPDX-License-Identifier: Apache-2.0
public import LiveUpdateCore
public import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// An arena and held descriptors for the tests of handlers. They outlive the boots of a test, as they outlive
/// processes.
///
/// An orchestrator knows nothing else, so two boots in one process show the same as two processes.
///
/// 1. ``boot(_:_:)`` begins a boot. If the boot before has published, this is the next boot. If not, the same boot goes
///    on, as in a process that is started again after a crash.
/// 2. ``loseDescriptors()`` simulates that every process on the machine dies.
/// 3. A ``SimulatedProcess`` dies in the middle of a request.
public final class SimulatedMachine: Sendable {
    private let options: Arena.Options
    private let arena: Arena
    private let held = Guarded<Set<DescriptorSlot>>([])

    /// Makes an arena, and holds no descriptor.
    ///
    /// - Parameter options: how the arena is made, and how far it may grow. The boots have probes of their own.
    /// - Throws: EMFILE, ENOMEM and the other errors of memfd_create(2); ENOSPC.
    public init(arena options: Arena.Options = Arena.Options()) throws(LiveUpdateError) {
        self.options = options
        arena = try UpdatableProcess.make(options)
    }

    deinit { loseDescriptors() }

    /// Begins a boot that knows only the arena and the held descriptors.
    ///
    /// - Parameters:
    ///   - process: the process of the boot; nil for a process that does not die.
    ///   - register: registers handlers and FLBs, in the same way at every boot.
    /// - Returns: the orchestrator of the boot, which is open.
    /// - Throws: as ``/LiveUpdateCore/Orchestrator/open()``, the errors of `register`, and EMFILE.
    public func boot(
        _ process: SimulatedProcess? = nil, _ register: (Orchestrator) throws(LiveUpdateError) -> Void
    ) throws(LiveUpdateError) -> Orchestrator {
        var options = options
        options.probe = process
        let orchestrator = Orchestrator(
            arena: try openArena(options), descriptors: ProcessDescriptors(process: process, held: held))
        try register(orchestrator)
        try orchestrator.open()
        return orchestrator
    }

    private func openArena(_ options: Arena.Options) throws(LiveUpdateError) -> Arena {
        let copy: FileDescriptor
        do throws(SystemCallError) {
            copy = try arena.descriptor.duplicated().release()
        } catch {
            throw LiveUpdateError(error, "a descriptor of the arena")
        }
        do throws(ArenaError) {
            return try Arena(opening: OwnedDescriptor(taking: copy), options)
        } catch {
            throw LiveUpdateError(error)
        }
    }

    /// Closes all held descriptors, as the end of every process does. A file comes back in a later boot if its handler
    /// can reopen it (``/LiveUpdateCore/FileHandler/reopen(_:)``).
    public func loseDescriptors() {
        let lost = held.with { held in
            defer { held = [] }
            return held
        }
        for slot in lost { InheritedDescriptors().release(slot) }
    }
}

/// A process that dies at one of its stores into the arena. After that nothing reaches the arena, and the process has
/// no descriptors.
///
/// The code of its boot still runs to the end of the request. Its results count for nothing.
public final class SimulatedProcess: StoreProbe {
    private let storesLeft: Guarded<Int>

    /// A process that dies after some stores.
    ///
    /// - Parameter count: the stores that reach the arena.
    public init(stores count: Int) { storesLeft = Guarded(count) }

    /// Whether the process has died.
    public var isDead: Bool { storesLeft.with { $0 } < 0 }

    package func willStore(bytes count: Int) -> Int {
        storesLeft.with { left in
            left -= 1
            return left < 0 ? 0 : count
        }
    }
}

/// The descriptors of a machine, as one of its processes sees them.
private final class ProcessDescriptors: DescriptorStore {
    private let process: SimulatedProcess?
    private let held: Guarded<Set<DescriptorSlot>>
    private let store = InheritedDescriptors()

    init(process: SimulatedProcess?, held: Guarded<Set<DescriptorSlot>>) {
        self.process = process
        self.held = held
    }

    func identify(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> FileIdentity {
        try store.identify(descriptor)
    }

    func keep(_ descriptor: FileDescriptor) throws(LiveUpdateError) -> DescriptorSlot {
        let slot = try store.keep(descriptor)
        held.with { _ = $0.insert(slot) }
        return slot
    }

    /// Returns, after the end of the process, a number that no system call accepts: nil would say that the file can be
    /// reopened.
    func descriptor(in slot: DescriptorSlot) -> FileDescriptor? {
        if process?.isDead == true { return FileDescriptor(rawValue: -1) }
        return held.with { $0.contains(slot) } ? store.descriptor(in: slot) : nil
    }

    func duplicate(_ slot: DescriptorSlot) throws(LiveUpdateError) -> OwnedDescriptor { try store.duplicate(slot) }

    func release(_ slot: DescriptorSlot) {
        guard process?.isDead != true, held.with({ $0.remove(slot) }) != nil else { return }
        store.release(slot)
    }
}

public import Handover
package import LiveUpdate
import Platform

/// What outlives the boots of a test: an arena, and the descriptors that are kept.
public final class Machine: Sendable {
    /// The kept descriptors.
    public let descriptors: KeptDescriptors
    /// The arena's file.
    public let file: MemoryFile
    private let options: Arena.Options

    /// A machine with a new arena.
    ///
    /// - Parameters:
    ///   - options: its probe sees the stores of boots, not those that make the arena.
    ///   - file: an empty one to make the arena in, instead of a memory file.
    public init(_ options: Arena.Options = Arena.Options(), on file: MemoryFile? = nil) throws {
        self.options = options
        descriptors = KeptDescriptors()
        self.file = try file ?? MemoryFile("arena", size: 0)
        var making = options
        making.probe = nil
        _ = try Arena.format(try self.file.duplicate(), making)
    }

    /// Another machine, which has a copy of this one's arena and, as processes do, the same descriptors.
    public init(copyOf machine: Machine, _ options: Arena.Options? = nil) throws {
        self.options = options ?? Arena.Options(limit: machine.options.limit)
        descriptors = machine.descriptors
        file = try MemoryFile("copy", bytes: try machine.file.bytes())
    }

    /// The machine when every process on it has died: the arena's file is there, and no descriptor.
    public init(survivorOf machine: Machine) {
        options = machine.options
        descriptors = KeptDescriptors()
        file = machine.file
    }

    /// The arena, opened once more: what the process that had it open before knows, this one does not.
    public func openArena(limit: UInt64? = nil) throws -> Arena {
        var options = options
        options.limit = limit ?? options.limit
        return try Arena(opening: try file.duplicate(), options)
    }

    /// A boot that knows only the arena and the kept descriptors.
    package func boot(
        _ opening: Orchestrator.Opening = .nextBoot, limit: UInt64? = nil,
        _ register: (Orchestrator) throws -> Void = { _ in }
    ) throws -> Orchestrator {
        let orchestrator = Orchestrator(
            arena: try openArena(limit: limit), descriptors: descriptors, opening: opening)
        try register(orchestrator)
        return orchestrator
    }

    /// A boot with one handler and the FLBs linked to it, opened.
    package func boot(
        _ opening: Orchestrator.Opening = .nextBoot, _ handler: TestHandler, _ flbs: TestFLB...
    ) throws -> Orchestrator {
        let orchestrator = try boot(opening) { orchestrator in
            try orchestrator.register(handler)
            for flb in flbs { try orchestrator.register(flb, on: handler) }
        }
        try orchestrator.open()
        return orchestrator
    }
}

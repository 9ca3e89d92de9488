// SPDX-License-Identifier: Apache-2.0
package import LiveUpdateCore
package import LiveUpdateHandover
import LiveUpdatePlatform

/// The arena and the held descriptors of a test, which outlive its boots.
package final class Machine: Sendable {
    /// The held descriptors.
    package let descriptors: KeptDescriptors
    /// The arena's file.
    package let file: MemoryFile
    private let options: Arena.Options

    /// A machine with a new arena. Each boot has the `options`. Their probe does not see the stores that make the
    /// arena. `file` is an empty file for the arena, instead of a memory file.
    package init(_ options: Arena.Options = Arena.Options(), on file: MemoryFile? = nil) throws {
        self.options = options
        descriptors = KeptDescriptors()
        self.file = try file ?? MemoryFile("arena", size: 0)
        var making = options
        making.probe = nil
        _ = try Arena.format(try self.file.duplicate(), making)
    }

    /// Another machine, with a copy of this one's arena and, as processes share them, the same descriptors.
    package init(copyOf machine: Machine, _ options: Arena.Options? = nil) throws {
        self.options = options ?? Arena.Options(limit: machine.options.limit)
        descriptors = machine.descriptors
        file = try MemoryFile("copy", bytes: try machine.file.bytes())
    }

    /// The machine after the death of every process. It has the arena's file, and no descriptor.
    package init(survivorOf machine: Machine) {
        options = machine.options
        descriptors = KeptDescriptors()
        file = machine.file
    }

    /// Opens the arena again. The new object has none of the state of an object that another process uses.
    package func openArena(limit: UInt64? = nil) throws -> Arena {
        var options = options
        options.limit = limit ?? options.limit
        return try Arena(opening: try file.duplicate(), options)
    }

    /// A boot that knows only the arena and the held descriptors.
    package func boot(
        _ opening: Orchestrator.Opening = .nextBoot, limit: UInt64? = nil,
        _ register: (Orchestrator) throws -> Void = { _ in }
    ) throws -> Orchestrator {
        let orchestrator = Orchestrator(
            arena: try openArena(limit: limit), descriptors: descriptors, opening: opening)
        try register(orchestrator)
        return orchestrator
    }

    /// An open boot with one handler and the FLBs linked to it.
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

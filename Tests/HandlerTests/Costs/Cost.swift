// SPDX-License-Identifier: Apache-2.0
import AllocationCounter
import LiveUpdateCore
import LiveUpdateHandlers
import LiveUpdatePlatform
import SystemPackage
import TestSupport

/// The cost of a request in counts, which are the same on every machine and at every load.
struct Cost {
    var systemCalls: Int
    var allocations: Int

    /// Counts the cost of one request on this thread.
    static func of(_ request: () throws -> Void) throws -> Cost {
        var failure: (any Error)?
        allocation_counter_start()
        let (_, calls) = FaultInjector.failing(call: 0) {
            do { try request() } catch { failure = error }
        }
        let allocations = allocation_counter_stop()
        if let failure { throw failure }
        return Cost(systemCalls: calls, allocations: allocations)
    }

    /// Whether allocations are counted. They are not under a sanitizer.
    static var countsAllocations: Bool { allocation_counter_works() == 1 }
}

/// The requests of some files over one update, each with its cost.
struct CountedLife {
    private(set) var preserve: [Cost] = []
    private(set) var publish: Cost
    private(set) var boot: Cost
    private(set) var retrieve: [Cost] = []
    private(set) var finish: Cost
    /// The bytes of the arena that the files take while they are preserved.
    let arenaBytes: UInt64

    /// Makes all of these requests, over one update.
    init(_ files: [TestFile]) throws {
        let machine = try Machine()
        do {
            let first = try machine.standardBoot().orchestrator
            let session = try first.createSession("counted")
            let before = try first.status().arenaUsed
            for (token, file) in files.enumerated() {
                preserve.append(try Cost.of { try session.preserve(file.descriptor, token: UInt64(token)) })
            }
            arenaBytes = try first.status().arenaUsed - before
            publish = try Cost.of { try first.publish() }
        }
        let next = try machine.boot { try $0.registerStandardHandlers() }
        boot = try Cost.of { try next.open() }
        let session = try next.retrieveSession("counted")
        for token in files.indices {
            var retrieved: OwnedDescriptor?
            retrieve.append(try Cost.of { retrieved = try session.retrieve(token: UInt64(token)) })
            _ = consume retrieved  // closed after the count
        }
        finish = try Cost.of { try session.finish() }
    }

    /// The cost of each further file, on average between 40 and 80 files. Tables grow by doubling, so the average
    /// includes their growth. It does not include the cost of the first request of a kind.
    static func each(_ make: () throws -> TestFile) throws -> (
        publish: Cost, boot: Cost, finish: Cost, arenaBytes: UInt64
    ) {
        _ = try CountedLife([make()])
        let few = try CountedLife(try (0..<40).map { _ in try make() })
        let many = try CountedLife(try (0..<80).map { _ in try make() })
        func each(_ part: KeyPath<CountedLife, Cost>) -> Cost {
            Cost(
                systemCalls: (many[keyPath: part].systemCalls - few[keyPath: part].systemCalls) / 40,
                allocations: (many[keyPath: part].allocations - few[keyPath: part].allocations) / 40)
        }
        return (each(\.publish), each(\.boot), each(\.finish), (many.arenaBytes - few.arenaBytes) / 40)
    }
}

// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// A boot with sessions that came and files that wait to be preserved, its model, and the behaviour of handlers.
///
/// The last two digits of a token select the behaviour of its file.
final class ModelWorld: Sendable {
    /// The preserve of this file fails.
    static let unpreservable: UInt64 = 13
    /// The preserve of this file takes a while, and meanwhile other threads ask for the same file.
    static let slow: UInt64 = 3
    /// The retrieve of this file fails.
    static let unretrievable: UInt64 = 21
    /// This file cannot be finished while handlers must refuse.
    static let stubborn: UInt64 = 7
    /// This file cannot be frozen while handlers must refuse.
    static let unfreezable: UInt64 = 5

    static let kind: @Sendable (UInt64) -> UInt64 = { $0 % 100 }

    let machine: Machine
    let handler: TestHandler
    let flb = ModelFLB()
    let files: [MemoryFile]
    let boot: Orchestrator
    let model: Model
    let isStubborn = Guarded(false)

    init(incoming: Int, files count: Int) throws {
        machine = try Machine()
        files = try (0..<count).map { _ in try MemoryFile(size: 0) }
        handler = Self.handler(isStubborn)
        let first = try Self.boot(machine, .nextBoot, handler, flb)
        var state = Model.State()
        for number in 0..<incoming {
            let session = try first.createSession("\(number)")
            var incoming = Model.Session(name: session.name, direction: .incoming, progress: .waiting)
            for (index, kind) in [1, Self.stubborn, Self.unretrievable].enumerated() {
                let (token, file) = (UInt64(number + 1) * 100 + kind, 3 * number + index)
                try session.preserve(files[file].descriptor, token: token)
                incoming.tokens[token] = file
            }
            state.sessions.append(incoming)
            state.names[.incoming]?[session.name] = number
        }
        try first.publish()
        model = Model(state)
        boot = try Self.boot(machine, .nextBoot, handler, flb)
    }

    private static func handler(_ isStubborn: Guarded<Bool>) -> TestHandler {
        let refusal = LiveUpdateError(.ioError, "as told")
        return TestHandler { hooks in
            hooks.preserve = { file throws(LiveUpdateError) in
                if kind(file.token) == unpreservable { throw refusal }
                if kind(file.token) == slow { sleep(milliseconds: 1) }
                return try file.storage.store(nativeBytes(file.token))
            }
            hooks.freeze = { file throws(LiveUpdateError) in
                if kind(file.token) == unfreezable, isStubborn.with({ $0 }) { throw refusal }
                return file.data
            }
            hooks.retrieve = { file throws(LiveUpdateError) in
                if kind(file.token) == unretrievable { throw refusal }
                return .kept
            }
            hooks.canFinish = { file in kind(file.token) != stubborn || !isStubborn.with { $0 } }
        }
    }

    static func boot(
        _ machine: Machine, _ opening: Orchestrator.Opening, _ handler: TestHandler, _ flb: ModelFLB
    ) throws -> Orchestrator {
        let orchestrator = try machine.boot(opening) { orchestrator in
            try orchestrator.register(handler)
            try orchestrator.register(flb, on: handler)
        }
        try orchestrator.open()
        return orchestrator
    }

    /// The same boot again, as after a crash.
    func rebuilt() throws -> Orchestrator { try Self.boot(machine, .sameBoot, handler, flb) }

    /// Opens a copy of the arena as another process would, as the next boot or as the same one.
    func copied(_ opening: Orchestrator.Opening) throws -> Orchestrator {
        try Self.boot(Machine(copyOf: machine), opening, TestHandler(), ModelFLB())
    }
}

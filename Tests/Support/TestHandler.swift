// SPDX-License-Identifier: Apache-2.0
public import LiveUpdateCore
import LiveUpdatePlatform
public import SystemPackage

/// A handler that records its callbacks, and runs a test's hook in each of them.
public final class TestHandler: FileHandler {
    /// The additional actions of its callbacks.
    public struct Hooks: Sendable {
        public var accepts: @Sendable (FileDescriptor) -> Bool = { _ in true }
        public var preserve: @Sendable (FileContext) throws(LiveUpdateError) -> UInt64 = { $0.token }
        public var unpreserve: @Sendable (FileContext) -> Void = { _ in }
        public var freeze: @Sendable (FileContext) throws(LiveUpdateError) -> UInt64 = { $0.data }
        public var freezeCheck: @Sendable (FileContext) -> (@Sendable () -> Bool)? = { _ in nil }
        public var freezeObstacle: @Sendable (FileContext) -> LiveUpdateError? = { _ in nil }
        public var unfreeze: @Sendable (FileContext) -> Void = { _ in }
        public var reopen: @Sendable (FileContext) throws(LiveUpdateError) -> FileDescriptor? = { _ in nil }
        public var retrieve: @Sendable (FileContext) throws(LiveUpdateError) -> RetrievedFile = { _ in .kept }
        public var canFinish: @Sendable (FileContext) -> Bool = { _ in true }
        public var finish: @Sendable (FileContext) -> Void = { _ in }
    }

    public let compatible: String
    public let owner: Owner?
    public let holdsFile: Bool
    private let hooks: Guarded<Hooks>
    private let log = Guarded<[String]>([])

    /// A handler that accepts every file, except where hooks refuse it.
    public init(
        _ compatible: String = "test-v1", owner: Owner? = nil, holdsFile: Bool = true,
        _ configure: (inout Hooks) -> Void = { _ in }
    ) {
        self.compatible = compatible
        self.holdsFile = holdsFile
        self.owner = owner
        var hooks = Hooks()
        configure(&hooks)
        self.hooks = Guarded(hooks)
    }

    /// Changes the hooks.
    public func change(_ configure: (inout Hooks) -> Void) { hooks.with(configure) }

    /// The callbacks so far. An entry is `preserve 7` for the file of token 7.
    public var calls: [String] { log.with { $0 } }

    /// The number of calls of a callback.
    public func count(_ callback: String) -> Int { calls.filter { $0.hasPrefix("\(callback) ") }.count }

    /// Forgets the recorded callbacks.
    public func clear() { log.with { $0 = [] } }

    private func note(_ callback: String, _ file: FileContext) -> Hooks {
        log.with { $0.append("\(callback) \(file.token)") }
        return hooks.with { $0 }
    }

    public func canPreserve(_ descriptor: FileDescriptor) -> Acceptance {
        hooks.with { $0 }.accepts(descriptor) ? .accepted : .refused(because: "not one of its files")
    }

    public func preserve(_ file: FileContext) throws(LiveUpdateError) -> UInt64 {
        try note("preserve", file).preserve(file)
    }

    public func unpreserve(_ file: FileContext) { note("unpreserve", file).unpreserve(file) }

    public func freeze(_ file: FileContext) throws(LiveUpdateError) -> UInt64 {
        try note("freeze", file).freeze(file)
    }

    public func freezeCheck(_ file: FileContext) -> (@Sendable () -> Bool)? {
        note("freezeCheck", file).freezeCheck(file)
    }

    public func freezeObstacle(_ file: FileContext) -> LiveUpdateError? {
        note("freezeObstacle", file).freezeObstacle(file)
    }

    public func unfreeze(_ file: FileContext) { note("unfreeze", file).unfreeze(file) }

    public func reopen(_ file: FileContext) throws(LiveUpdateError) -> FileDescriptor? {
        try note("reopen", file).reopen(file)
    }

    public func retrieve(_ file: FileContext) throws(LiveUpdateError) -> RetrievedFile {
        try note("retrieve", file).retrieve(file)
    }

    public func canFinish(_ file: FileContext) -> Bool { note("canFinish", file).canFinish(file) }

    public func finish(_ file: FileContext) { note("finish", file).finish(file) }
}

// SPDX-License-Identifier: Apache-2.0
package import LiveUpdateCore
import LiveUpdatePlatform
package import SystemPackage

/// A handler that records its callbacks, and runs a test's hook in each of them.
package final class TestHandler: FileHandler {
    /// The additional actions of its callbacks.
    package struct Hooks: Sendable {
        package var accepts: @Sendable (FileDescriptor) -> Bool = { _ in true }
        package var preserve: @Sendable (FileContext) throws(LiveUpdateError) -> UInt64 = { $0.token }
        package var unpreserve: @Sendable (FileContext) -> Void = { _ in }
        package var freeze: @Sendable (FileContext) throws(LiveUpdateError) -> UInt64 = { $0.data }
        package var freezeCheck: @Sendable (FileContext) -> (@Sendable () -> Bool)? = { _ in nil }
        package var freezeObstacle: @Sendable (FileContext) -> LiveUpdateError? = { _ in nil }
        package var unfreeze: @Sendable (FileContext) -> Void = { _ in }
        package var reopen: @Sendable (FileContext) throws(LiveUpdateError) -> FileDescriptor? = { _ in nil }
        package var retrieve: @Sendable (FileContext) throws(LiveUpdateError) -> RetrievedFile = { _ in .kept }
        package var canFinish: @Sendable (FileContext) -> Bool = { _ in true }
        package var finish: @Sendable (FileContext) -> Void = { _ in }
    }

    package let compatible: String
    package let owner: Owner?
    package let holdsFile: Bool
    package let kernelFate: KernelFate
    private let hooks: Guarded<Hooks>
    private let log = Guarded<[String]>([])

    /// A handler that accepts every file, except where hooks refuse it.
    package init(
        _ compatible: String = "test-v1", owner: Owner? = nil, holdsFile: Bool = true, kernelFate: KernelFate = .ends,
        _ configure: (inout Hooks) -> Void = { _ in }
    ) {
        self.compatible = compatible
        self.holdsFile = holdsFile
        self.kernelFate = kernelFate
        self.owner = owner
        var hooks = Hooks()
        configure(&hooks)
        self.hooks = Guarded(hooks)
    }

    /// Changes the hooks.
    package func change(_ configure: (inout Hooks) -> Void) { hooks.with(configure) }

    /// The callbacks so far. An entry is `preserve 7` for the file of token 7.
    package var calls: [String] { log.with { $0 } }

    /// The number of calls of a callback.
    package func count(_ callback: String) -> Int { calls.filter { $0.hasPrefix("\(callback) ") }.count }

    /// Forgets the recorded callbacks.
    package func clear() { log.with { $0 = [] } }

    private func note(_ callback: String, _ file: FileContext) -> Hooks {
        log.with { $0.append("\(callback) \(file.token)") }
        return hooks.with { $0 }
    }

    package func canPreserve(_ descriptor: FileDescriptor) -> Acceptance {
        hooks.with { $0 }.accepts(descriptor) ? .accepted : .refused(because: "not one of its files")
    }

    package func preserve(_ file: FileContext) throws(LiveUpdateError) -> UInt64 {
        try note("preserve", file).preserve(file)
    }

    package func unpreserve(_ file: FileContext) { note("unpreserve", file).unpreserve(file) }

    package func freeze(_ file: FileContext) throws(LiveUpdateError) -> UInt64 {
        try note("freeze", file).freeze(file)
    }

    package func freezeCheck(_ file: FileContext) -> (@Sendable () -> Bool)? {
        note("freezeCheck", file).freezeCheck(file)
    }

    package func freezeObstacle(_ file: FileContext) -> LiveUpdateError? {
        note("freezeObstacle", file).freezeObstacle(file)
    }

    package func unfreeze(_ file: FileContext) { note("unfreeze", file).unfreeze(file) }

    package func reopen(_ file: FileContext) throws(LiveUpdateError) -> FileDescriptor? {
        try note("reopen", file).reopen(file)
    }

    package func retrieve(_ file: FileContext) throws(LiveUpdateError) -> RetrievedFile {
        try note("retrieve", file).retrieve(file)
    }

    package func canFinish(_ file: FileContext) -> Bool { note("canFinish", file).canFinish(file) }

    package func finish(_ file: FileContext) { note("finish", file).finish(file) }
}

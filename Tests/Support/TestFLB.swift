// SPDX-License-Identifier: Apache-2.0
package import LiveUpdateCore
import LiveUpdatePlatform

/// An FLB that records its callbacks, and runs a test's hook in each of them. Its live object is its handle.
package final class TestFLB: FileLifecycleBound {
    /// The additional actions of its callbacks.
    package struct Hooks: Sendable {
        package var preserve: @Sendable (FLBContext) throws(LiveUpdateError) -> UInt64 = { _ in 42 }
        package var unpreserve: @Sendable (FLBContext) -> Void = { _ in }
        package var retrieve: @Sendable (FLBContext) throws(LiveUpdateError) -> Void = { _ in }
        package var finish: @Sendable (FLBContext) -> Void = { _ in }
        package var resume: @Sendable (FLBContext) throws(LiveUpdateError) -> Void = { _ in }
        package var serialize: @Sendable (FLBContext) throws(LiveUpdateError) -> UInt64 = { $0.data }
    }

    package let compatible: String
    package let owner: Owner?
    private let hooks: Guarded<Hooks>
    private let log = Guarded<[String]>([])

    /// An FLB with callbacks that only count, except where hooks do more.
    package init(_ compatible: String = "flb-v1", owner: Owner? = nil, _ configure: (inout Hooks) -> Void = { _ in }) {
        self.compatible = compatible
        self.owner = owner
        var hooks = Hooks()
        configure(&hooks)
        self.hooks = Guarded(hooks)
    }

    /// Changes the hooks.
    package func change(_ configure: (inout Hooks) -> Void) { hooks.with(configure) }

    /// The callbacks so far.
    package var calls: [String] { log.with { $0 } }

    /// The number of calls of a callback.
    package func count(_ callback: String) -> Int { calls.filter { $0 == callback }.count }

    private func note(_ callback: String) -> Hooks {
        log.with { $0.append(callback) }
        return hooks.with { $0 }
    }

    package func preserve(_ context: FLBContext) throws(LiveUpdateError) -> (data: UInt64, object: UInt64) {
        let data = try note("preserve").preserve(context)
        return (data, data)
    }

    package func unpreserve(_ object: UInt64, _ context: FLBContext) { note("unpreserve").unpreserve(context) }

    package func retrieve(_ context: FLBContext) throws(LiveUpdateError) -> UInt64 {
        try note("retrieve").retrieve(context)
        return context.data
    }

    package func finish(_ object: UInt64, _ context: FLBContext) { note("finish").finish(context) }

    package func resume(_ context: FLBContext) throws(LiveUpdateError) -> UInt64 {
        try note("resume").resume(context)
        return context.data
    }

    package func serialize(_ object: UInt64, _ context: FLBContext) throws(LiveUpdateError) -> UInt64 {
        try note("serialize").serialize(context)
    }
}

// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandlers
import LiveUpdatePlatform

/// Counts the calls of each callback of the HugeTLB FLB in this boot.
final class FLBCallCounts: Sendable {
    private let counts = Guarded<[String: Int]>([:])

    func count(_ callback: String) { counts.with { $0[callback, default: 0] += 1 } }

    /// Returns the counts since the last call of this method.
    func take() -> [String: Int] {
        counts.with { counts in
            defer { counts = [:] }
            return counts
        }
    }
}

/// The HugeTLB FLB with counted callbacks.
final class CountedHugeTLB: FileLifecycleBound {
    private let base = HugeTLB()
    let counts: FLBCallCounts

    init(_ counts: FLBCallCounts) { self.counts = counts }

    var compatible: String { base.compatible }

    func preserve(_ context: FLBContext) throws(LiveUpdateError) -> (data: UInt64, object: HugeTLBState) {
        counts.count("preserve")
        return try base.preserve(context)
    }

    func unpreserve(_ object: HugeTLBState, _ context: FLBContext) {
        counts.count("unpreserve")
        base.unpreserve(object, context)
    }

    func retrieve(_ context: FLBContext) throws(LiveUpdateError) -> HugeTLBState {
        counts.count("retrieve")
        return try base.retrieve(context)
    }

    func finish(_ object: HugeTLBState, _ context: FLBContext) {
        counts.count("finish")
        base.finish(object, context)
    }

    func resume(_ context: FLBContext) throws(LiveUpdateError) -> HugeTLBState { try base.resume(context) }

    func serialize(_ object: HugeTLBState, _ context: FLBContext) throws(LiveUpdateError) -> UInt64 {
        try base.serialize(object, context)
    }
}

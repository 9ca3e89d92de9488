// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import Testing

/// An FLB that detects overlapping callbacks, and has a live object that knows whether it is alive.
final class ModelFLB: FileLifecycleBound {
    final class Object: Sendable {
        private let alive = Guarded(true)

        var isAlive: Bool { alive.with { $0 } }

        func end() {
            let was = alive.with { alive in
                defer { alive = false }
                return alive
            }
            #expect(was, "ended twice")
        }
    }

    let compatible = "model-flb-v1"
    private let isInside = Guarded(false)
    private let counts = Guarded<[String: Int]>([:])

    /// The number of calls of a callback.
    func count(_ callback: String) -> Int { counts.with { $0[callback] ?? 0 } }

    private func callback<Value>(_ name: String, _ body: () -> Value) -> Value {
        let others = isInside.with { inside in
            defer { inside = true }
            return inside
        }
        #expect(!others, "\(name), while another callback runs")
        counts.with { $0[name, default: 0] += 1 }
        defer { isInside.with { $0 = false } }
        return body()
    }

    func preserve(_ context: FLBContext) throws(LiveUpdateError) -> (data: UInt64, object: Object) {
        callback("preserve") { (7, Object()) }
    }

    func unpreserve(_ object: Object, _ context: FLBContext) { callback("unpreserve") { object.end() } }

    func retrieve(_ context: FLBContext) throws(LiveUpdateError) -> Object { callback("retrieve") { Object() } }

    func finish(_ object: Object, _ context: FLBContext) { callback("finish") { object.end() } }

    func resume(_ context: FLBContext) throws(LiveUpdateError) -> Object { callback("resume") { Object() } }
}

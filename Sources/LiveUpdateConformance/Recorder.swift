// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// The state that the scenario's handlers and FLBs share, over all of its boots: the counter of data handles, the
/// faults of the present step, and the callbacks of this step.
final class Recorder: Sendable {
    private struct State: Sendable {
        var calls: [String] = []
        var faults: [String: Int32] = [:]
        var nextData: UInt64 = 1
    }

    private let state = Guarded(State())
    /// The names of the scenario's files.
    let names: [FileIdentity: String]

    init(names: [FileIdentity: String]) { self.names = names }

    func begin(_ faults: [String: Int32]?) {
        state.with { state in
            state.calls = []
            state.faults = faults ?? [:]
        }
    }

    var calls: [String] { state.with { $0.calls } }

    func record(_ call: String) { state.with { $0.calls.append(call) } }

    func record(_ call: String, failed errno: Errno) { record("\(call) !\(-errno.rawValue)") }

    func takeData() -> UInt64 {
        state.with { state in
            defer { state.nextData += 1 }
            return state.nextData
        }
    }

    /// Takes the fault for the next call of a callback.
    func fault(_ callback: String) -> Errno? {
        state.with { $0.faults.removeValue(forKey: callback) }.map { Errno(rawValue: 0 &- $0) }
    }

    /// Whether a fault is armed. The fault stays armed.
    func isArmed(_ callback: String) -> Bool { state.with { $0.faults[callback] != nil } }

    func check(_ callback: String, _ call: String) throws(LiveUpdateError) {
        guard let errno = fault(callback) else { return }
        record(call, failed: errno)
        throw LiveUpdateError(errno, "injected")
    }
}

/// The compatible string of a name: the name without the `~x` of a second object.
func compatibleString(_ name: String) -> String { name.hasSuffix("~x") ? String(name.dropLast(2)) : name }

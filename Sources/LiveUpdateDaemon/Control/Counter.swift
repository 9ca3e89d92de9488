// SPDX-License-Identifier: Apache-2.0
import LiveUpdateMachine
import LiveUpdatePlatform
import LiveUpdateProtocol

/// A number that luod counts for its operators (docs/metrics.md). It is in the ``ControlMemory``, so that it outlives
/// each orchestrator and, while an orchestrator goes on, the keeper. It begins at 0 with luod.
enum Counter: Hashable {
    /// Loads, updates and reloads, by their result.
    case update(UpdateRequest.Kind, UpdateResult)
    /// Deaths of luod's processes.
    case death(LuodProcess, DeathCause)

    enum UpdateResult: String, CaseIterable {
        case done
        /// The update was accepted, and called off.
        case calledOff = "called_off"
        case refused
    }

    enum LuodProcess: String, CaseIterable { case keeper, orchestrator, gate }

    enum DeathCause: String, CaseIterable {
        /// SIGKILL, which is also the signal of a shortage of memory.
        case kill
        /// Another signal, or an exit code.
        case fault
        /// The process did not answer, and was ended.
        case silence
        /// The exit status is not known: the keeper is no child of the orchestrator.
        case unknown
    }

    /// All counters. The position in this list is the place in the memory, so add new counters at the end.
    static let all: [Counter] =
        [.load, .update, .reload, .reloadKeeper].flatMap { kind in
            UpdateResult.allCases.map { .update(kind, $0) }
        }
        + LuodProcess.allCases.flatMap { process in DeathCause.allCases.map { .death(process, $0) } }

    /// The upper bounds of the buckets of the blackouts, in nanoseconds. A last bucket has all longer ones.
    static let blackoutBounds: [UInt64] = [
        500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000, 25_000_000, 50_000_000, 100_000_000, 250_000_000,
        500_000_000, 1_000_000_000, 5_000_000_000,
    ]

    /// The bucket of a blackout, in nanoseconds. A blackout of exactly a bound is in the bucket of that bound.
    static func bucket(of blackout: UInt64) -> Int {
        blackoutBounds.firstIndex { blackout <= $0 } ?? blackoutBounds.count
    }

    /// The counter with a value, as STATUS has it.
    func described(_ count: UInt64) -> LuodStatus.Counter {
        switch self {
        case .update(let kind, let result):
            LuodStatus.Counter(name: "updates", of: kind.label, result: result.rawValue, count: count)
        case .death(let process, let cause):
            LuodStatus.Counter(name: "deaths", of: process.rawValue, result: cause.rawValue, count: count)
        }
    }
}

extension UpdateRequest.Kind {
    /// The kind in the names of counters.
    fileprivate var label: String { self == .reloadKeeper ? "keeper_reload" : name }
}

extension Counter.DeathCause {
    /// The cause of the death of a process that did not fall silent. `status` is nil when it is not known.
    init(_ status: ExitStatus?) {
        self =
            status.map { RequestDeaths.Cause(signal: $0.signal, code: $0.code) == .kill ? .kill : .fault } ?? .unknown
    }
}

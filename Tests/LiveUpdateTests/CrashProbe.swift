// SPDX-License-Identifier: Apache-2.0
import LiveUpdateHandover
import LiveUpdatePlatform
import TestSupport

/// Ends a writer's life at its k-th store: from then on no store reaches the arena.
final class CrashProbe: StoreProbe {
    private struct State: Sendable {
        var stores = 0
        var sizes: [UInt64] = []
    }

    private let stop: Int
    private let cutsInTheMiddle: Bool
    private let file: Guarded<MemoryFile?> = Guarded(nil)
    private let state = Guarded(State())
    private let last: Guarded<(@Sendable () -> Void)?> = Guarded(nil)

    /// - Parameters:
    ///   - stop: the first lost store, counted from 0.
    ///   - cutsInTheMiddle: whether the first half of this store, in whole words, still reaches the arena.
    init(stop: Int = .max, cutsInTheMiddle: Bool = false) {
        self.stop = stop
        self.cutsInTheMiddle = cutsInTheMiddle
    }

    /// Records the length of the arena's file before each store.
    func watch(_ file: MemoryFile) { self.file.with { $0 = file } }

    /// Calls a closure at the moment of death.
    func whenDead(_ body: @escaping @Sendable () -> Void) { last.with { $0 = body } }

    /// The number of stores so far, including the lost ones.
    var stores: Int { state.with { $0.stores } }

    /// The length of the file before each store.
    var sizes: [UInt64] { state.with { $0.sizes } }

    var isDead: Bool { stores > stop }

    func willStore(bytes count: Int) -> Int {
        let size = file.with { $0 }.flatMap { try? FileStatus(of: $0.descriptor).size } ?? 0
        if stores == stop, let last = last.with({ $0 }) { last() }
        return state.with { state in
            defer { state.stores += 1 }
            state.sizes.append(size)
            if state.stores < stop { return count }
            return state.stores == stop && cutsInTheMiddle ? count / 16 * 8 : 0
        }
    }
}

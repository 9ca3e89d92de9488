// SPDX-License-Identifier: Apache-2.0
import Glibc
package import LiveUpdatePlatform

/// The pages of 2 MiB that a test has reserved and not released. They are given back with the last reference to this
/// object, even if the test fails.
package final class PoolLedger: Sendable {
    private let taken = Guarded<Int64>(0)

    /// Makes a ledger without pages.
    package init() {}

    /// Notes a completed request.
    package func note(_ action: HugePageRequest.Action, _ count: UInt64) {
        taken.with { $0 += action == .reserve ? Int64(count) : -Int64(count) }
    }

    deinit {
        let left = taken.with { $0 }
        if left > 0 { try? HugePageReservation.giveBack(UInt64(left), of: .huge2M) }
    }
}

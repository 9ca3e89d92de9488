import Glibc
public import Platform

/// What a test has reserved of 2 MiB pages and not released: given back with the last reference to this, also when the
/// test fails in between.
public final class PoolLedger: Sendable {
    private let taken = Guarded<Int64>(0)

    /// Nothing yet.
    public init() {}

    /// Notes what became of a request.
    public func note(_ action: HugePageRequest.Action, _ count: UInt64) {
        taken.with { $0 += action == .reserve ? Int64(count) : -Int64(count) }
    }

    deinit {
        let left = taken.with { $0 }
        if left > 0 { try? HugePageReservation.giveBack(UInt64(left), of: .huge2M) }
    }
}

import Platform

/// How fast requests come. Where one follows the other, the next one is looked for before this process sleeps; who is asked now
/// and then sleeps at once.
struct Pace {
    /// Between requests, in nanoseconds: a few times what one takes.
    private static let quick: UInt64 = 300_000
    private var last: UInt64 = 0

    private(set) var isQuick = false

    mutating func note() {
        let now = monotonicNanoseconds()
        isQuick = now - last < Self.quick
        last = now
    }
}

// SPDX-License-Identifier: Apache-2.0

/// SplitMix64: the same seed gives the same random numbers.
package struct SeededGenerator: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// Starts the series for a seed.
    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// A random index below a count.
    package mutating func index(below count: Int) -> Int { Int.random(in: 0..<count, using: &self) }
}

/// The seed of a test: `LUO_SEED`, or a fixed number. It is printed, so that a failure can be repeated with its seed.
package func announcedSeed(_ test: String) -> UInt64 {
    let seed = environment("LUO_SEED").flatMap { UInt64($0) } ?? 20_260_101
    print("\(test): LUO_SEED=\(seed)")
    return seed
}

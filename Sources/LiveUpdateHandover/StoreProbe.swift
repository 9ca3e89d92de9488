// SPDX-License-Identifier: Apache-2.0

/// Lets a test end the life of a writer between any two of its stores. Shared memory keeps the stores of a killed
/// process in program order. So stopping after every store in turn is a complete test of the states that a crash can
/// leave.
package protocol StoreProbe: Sendable {
    /// Called before each store into the arena and before each growth of it.
    ///
    /// - Parameter count: the number of bytes of the store.
    /// - Returns: how many of them reach the arena: all; none, once the writer counts as dead; or fewer, for a store
    ///   that is cut in the middle. Cuts fall on multiples of eight.
    func willStore(bytes count: Int) -> Int
}

/// Lets a test end the life of a writer between any two of its stores. Since shared memory outlives a killed process
/// in program order, stopping after every k is a complete check of what a crash can leave.
public protocol StoreProbe: Sendable {
    /// Called before each store into the arena and before each growth of it.
    ///
    /// - Parameter count: bytes that the store has.
    /// - Returns: how many of them reach the arena: all; none, once the writer counts as dead; or fewer, for a store
    ///   that was cut in the middle. Cuts fall on multiples of eight.
    func willStore(bytes count: Int) -> Int
}

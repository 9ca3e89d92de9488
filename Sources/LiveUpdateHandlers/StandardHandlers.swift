public import LiveUpdate

extension Orchestrator {
    /// Registers all handlers of this package, with the FLB that the hugetlb one depends on.
    ///
    /// - Parameter mendingPools: whether pool settings that were changed during an update may be written back.
    /// - Returns: the HugeTLB FLB, for its getters.
    /// - Throws: as ``LiveUpdate/Orchestrator/register(_:)``.
    @discardableResult
    public func registerStandardHandlers(mendingPools: Bool = false) throws(LiveUpdateError) -> HugeTLB {
        let hugeTLB = HugeTLB(mendingPools: mendingPools)
        let hugeMemfd = HugeMemfdHandler()
        try register(MemfdHandler())
        try register(hugeMemfd)
        try register(hugeTLB, on: hugeMemfd)
        return hugeTLB
    }
}

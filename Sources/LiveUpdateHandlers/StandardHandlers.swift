// SPDX-License-Identifier: Apache-2.0
public import LiveUpdateCore

extension Orchestrator {
    /// Registers all handlers of this package, with the FLBs that they depend on.
    ///
    /// - Parameter mendingPools: whether pool settings that were changed during an update may be written back.
    /// - Returns: the HugeTLB FLB, for its getters.
    /// - Throws: as ``/LiveUpdateCore/Orchestrator/register(_:)``.
    @discardableResult
    public func registerStandardHandlers(mendingPools: Bool = false) throws(LiveUpdateError) -> HugeTLB {
        let hugeTLB = HugeTLB(mendingPools: mendingPools)
        let onHugePages: [any FileHandler] = [HugeMemfdHandler(), HugetlbfsFileHandler()]
        try register(MemfdHandler())
        for handler in onHugePages {
            try register(handler)
            try register(hugeTLB, on: handler)
        }
        let daxRegions = DaxRegions()
        let onDax: [any FileHandler] = [DaxFileHandler(), DaxDeviceHandler()]
        for handler in onDax {
            try register(handler)
            try register(daxRegions, on: handler)
        }
        return hugeTLB
    }
}

// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import LiveUpdatePlatform

/// Whether a kernel has the Live Update Orchestrator, from its files.
@Suite struct KernelOrchestratorTests {
    private func decide(_ devices: String, _ commandLine: String, hasFile: Bool = false) -> KernelOrchestrator {
        KernelOrchestrator(devices: devices, commandLine: commandLine, hasFile: hasFile)
    }

    @Test(
        "The kernel has LUO when it has registered the device",
        arguments: [
            ("259 liveupdate\n258 cpu_dma_latency\n", true), ("258 cpu_dma_latency\n 59 liveupdate\n", true),
            ("", false),
            ("259 liveupdate2\n", false), ("liveupdate\n", false), ("259 other liveupdate\n", false),
        ])
    func devices(_ text: String, _ isOn: Bool) {
        #expect(decide(text, "").isOn == isOn)
        #expect(!decide(text, "").isRequested)
    }

    @Test(
        "The last liveupdate= of the command line counts",
        arguments: [
            ("quiet kho=on liveupdate=on\n", true), ("liveupdate=1", true), ("liveupdate=Y", true),
            ("liveupdate=true", true),
            ("liveupdate=off", false), ("liveupdate=0", false), ("liveupdate=", false), ("liveupdate", false),
            ("liveupdate=on liveupdate=off", false), ("liveupdate=off liveupdate=on", true), ("noliveupdate=on", false),
            ("quiet -- liveupdate=on", false), ("", false),
        ])
    func commandLines(_ text: String, _ isRequested: Bool) {
        #expect(decide("", text).isRequested == isRequested)
        #expect(!decide("", text).isOn)
    }

    @Test("The running kernel can be asked") func current() {
        let now = KernelOrchestrator.current()
        #expect(now == KernelOrchestrator.current())
        #expect(now.isOn || !now.hasFile)
    }
}

// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import LiveUpdateDaemon

@Suite struct KernelRecordTests {
    @Test(
        "The recorded boot ID is compared with that of the kernel that runs",
        arguments: [
            ("", "a", KernelRecord.Comparison.unknown), ("a", "", .unknown), ("a", "a", .same), ("a", "b", .other),
        ])
    func comparison(recorded: String, running: String, expected: KernelRecord.Comparison) {
        #expect(KernelRecord.Comparison(recorded: recorded, running: running) == expected)
    }

    @Test("Only the first orchestrator under another kernel, and that after a new start, begins the next boot")
    func roles() {
        let next: [ControlMessage.Role] = [.first, .afterKernel]
        let others: [ControlMessage.Role] = [.restored, .successor, .successorInUpdate, .standby, .refusing]
        #expect(next.allSatisfy(\.isNextBoot) && !others.contains(where: \.isNextBoot))
    }
}

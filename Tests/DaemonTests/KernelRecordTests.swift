// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
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

    @Test("A state that ends leaves no file, and no record of a kernel update") func removed() throws {
        let directory = try TemporaryDirectory()
        let state = directory.file("state")
        try FileManager.default.createDirectory(atPath: state, withIntermediateDirectories: false)
        for name in ["arena", "kernel", "last-kernel-update", "last-kernel-update.new"] {
            try Data().write(to: URL(fileURLWithPath: "\(state)/\(name)"))
        }
        StateDirectory(state).remove()
        #expect(try directory.names.isEmpty)
    }
}

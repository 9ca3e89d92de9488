// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandover
import Testing

@testable import LiveUpdateDaemon

/// The facts that a holder leaves for the next luod.
@Suite struct KernelHolderTests {
    private static let entry = KeeperState.Entry(
        held: HeldSlot(slot: DescriptorSlot(7), kind: .file, label: DescriptorLabel(user: 1000)), number: 70)

    @Test("The list comes back as it was written, and other bytes are refused") func list() throws {
        for session in [nil, HolderList.Session(number: 9, isIncoming: false), .init(number: 9, isIncoming: true)] {
            let list = HolderList(session: session, entries: [Self.entry, Self.entry])
            let bytes = list.bytes
            #expect(bytes.starts(with: "LUOHOLDR".utf8))
            #expect(try HolderList(bytes) == list)
            for length in 0..<bytes.count {
                #expect(throws: ArenaError.self) { try HolderList([UInt8](bytes.prefix(length))) }
            }
            #expect(throws: ArenaError.self) { try HolderList(bytes + [0]) }
        }
    }

    @Test("The name of the process comes back as it was written") func name() {
        let name = KernelHolder.Name(boot: "a-b", process: 12, startTime: 345)
        #expect(KernelHolder.Name(name.text) == name)
    }

    @Test(
        "Another content of the file names no process",
        arguments: ["", "a-b", "a-b 12", "a-b 0 345", "a-b -1 345", "a-b 12 x", "a-b 12 345 6"])
    func otherContent(text: String) { #expect(KernelHolder.Name(text) == nil) }
}

// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateDeviceTree
import LiveUpdateHandover
import LiveUpdatePlatform
import TestSupport
import Testing

/// `luo-holder-v1` in a published tree. The test reads it with only the offsets and names of docs/abi.md.
@Suite struct PublishedHoldersTests {
    /// A published tree, decoded according to the document.
    private struct Published {
        let bytes: [UInt8]
        let root: DeviceTreeReader

        init(_ machine: Machine) throws {
            bytes = try machine.file.bytes()
            let tree = try #require(try machine.openArena().outgoingTree)
            root = try Self.tree(bytes, at: tree.offset)
        }

        private static func tree(_ bytes: [UInt8], at offset: UInt64) throws -> DeviceTreeReader {
            let start = Int(offset)
            let size = UInt32(bigEndian: integer(UInt32.self, bytes, at: start + 4))
            return try DeviceTreeReader([UInt8](bytes[start..<start + Int(size)]))
        }

        func subsystem(_ name: String) throws -> DeviceTreeReader {
            let node = try #require(root.child(name))
            let offset = try #require(root.u64("fdt", of: node))
            return try Self.tree(bytes, at: offset)
        }
    }

    private let machine: Machine
    private let boot: Orchestrator

    init() throws {
        machine = try Machine(Specimen.options)
        boot = try machine.boot(.nextBoot, TestHandler())
    }

    @Test("u32 user, u8 detached, 3 zeros for each session, in the order of the sessions") func records() throws {
        let holders = [
            SessionHolder(), SessionHolder(user: 0x0102_0304, slot: DescriptorSlot(9), isDetached: true),
            SessionHolder(user: .max), SessionHolder(isDetached: true),
        ]
        for (number, holder) in holders.enumerated() { _ = try boot.createSession("s\(number)", holder: holder) }
        try boot.publish()
        let published = try Published(machine)
        #expect(published.root.childNames().contains("luo-holder"))
        let tree = try published.subsystem("luo-holder")
        #expect(tree.string("compatible") == "luo-holder-v1")
        let header = Int(try #require(tree.u64("luo-holder-header")))
        #expect(
            [UInt8](published.bytes[header..<header + 32]) == [
                0, 0, 0, 0, 0, 0, 0, 0,
                4, 3, 2, 1, 1, 0, 0, 0,
                255, 255, 255, 255, 0, 0, 0, 0,
                0, 0, 0, 0, 1, 0, 0, 0,
            ])
        let sessions = try published.subsystem("luo-session")
        let first = Int(try #require(sessions.u64("luo-session-header"))) + 8
        for number in holders.indices {
            let name = published.bytes[(first + 80 * number)...].prefix { $0 != 0 }
            #expect(String(decoding: name, as: UTF8.self) == "s\(number)")
        }
    }

    @Test("Without users and detached sessions the tree is the kernel's") func absent() throws {
        _ = try boot.createSession("s", holder: SessionHolder(slot: DescriptorSlot(9)))
        try boot.publish()
        #expect(try Published(machine).root.child("luo-holder") == nil)
    }

    @Test("One name of two users travels; one name twice for one user is damage") func names() throws {
        for user in [7, 8] as [SessionUser] { _ = try boot.createSession("s", holder: SessionHolder(user: user)) }
        try boot.publish()
        let second = try #require(try Published(machine).subsystem("luo-holder").u64("luo-holder-header")) + 8
        let specimen = try Specimen("holders", machine)
        func open() throws -> Orchestrator {
            Orchestrator(
                arena: try Arena(opening: try specimen.file.duplicate(), Specimen.options),
                descriptors: machine.descriptors)
        }
        // The second session gets the first one's user, and the checksums are repaired.
        try specimen.file.write(word: 7 as UInt32, at: second)
        specimen.repair()
        #expect(errno { try open().open() } == .ioError)
        specimen.restore()
        #expect(try open().status().sessions.map(\.holder.user) == [7, 8])
    }
}

// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdateMachine
import LiveUpdatePlatform
import SystemPackage
import Testing

@testable import LiveUpdateDaemon

/// The messages between a keeper and the processes that it starts.
@Suite struct ControlMessageTests {
    private static let changed: [(String, @Sendable (inout Settings) -> Void)] = [
        ("state", { $0.state = "/ä" }), ("arena", { $0.arena.limit = 1 << 46 }),
        ("sessions", { $0.limits.sessions = .max }), ("files", { $0.limits.files = 1 }),
        ("memory", { $0.memory.bytes = 0 }), ("hugePages", { $0.memory.hugePages = [.huge2M: 7, .huge1G: 0] }),
        ("bytes", { $0.limits.arenaBytes = 4096 }), ("userDescriptors", { $0.userDescriptors = 7 }),
        ("descriptors", { $0.descriptors = 64 }), ("isConfined", { $0.isConfined = false }),
        ("kernel", { $0.kernel = .linux70 }), ("endsUnused", { $0.endsUnused = true }),
        ("patience", { $0.patience = 1 }), ("silence", { $0.silence = 250 }),
        ("socketMode", { $0.socketMode = FilePermissions(rawValue: 0o666) }),
        ("socketGroup", { $0.socketGroup = 0 }),
    ]

    @Test("Each setting arrives as it was sent", arguments: changed.indices)
    func settings(index: Int) throws {
        let usual = Settings(state: "/run/luo")
        var settings = usual
        Self.changed[index].1(&settings)
        #expect(settings != usual, "\(Self.changed[index].0) is not in the bytes")
        let bytes = ControlMessage.settings(settings).bytes
        #expect(ControlMessage(bytes) == .settings(settings))
        for length in 0..<bytes.count { #expect(ControlMessage([UInt8](bytes.prefix(length))) == nil) }
        #expect(ControlMessage(bytes + [0]) == nil, "there is more than this version knows")
    }

    @Test("Settings with a value that has no meaning are refused") func meaningless() throws {
        var settings = Settings(state: "/s")
        settings.kernel = .linux70
        let bytes = ControlMessage.settings(settings).bytes
        let kernel = try #require(bytes.indices.first { bytes[$0...].starts(with: Array("7.0".utf8)) })
        var other = bytes
        other[kernel] = UInt8(ascii: "9")
        #expect(ControlMessage(other) == nil)
        // This byte is the flag before the length of the kernel's name.
        other = bytes
        other[kernel - 3] = 2
        #expect(ControlMessage(other) == nil)
    }

    @Test("The longest messages fit, and a longer one is not sent: the peer would see a truncated message")
    func length() throws {
        let (ours, theirs) = try MessageSocket.pair()
        let link = ControlLink(OwnedDescriptor(taking: ours))
        let peer = ControlLink(OwnedDescriptor(taking: theirs))
        let long = String(repeating: "ä", count: 20_000)
        let held = HeldSlot(slot: DescriptorSlot(.max), kind: .file)
        let fitting: [ControlMessage] = [
            .hello(ControlVersion(number: 1, package: long)), .update(.failed(long)),
            .cannotBegin(StartFailure(.other, long)),
            .refuses(StartFailure(.other, long)), .begin(.successor, nextSlot: 1, after: long),
            .hold([HeldSlot](repeating: held, count: MessageSocket.mostDescriptors)),
            .release([DescriptorSlot](repeating: held.slot, count: 500)),
            .load(image: String(repeating: "i", count: 4095), attempt: 1),
            .update(.handOver(.update, note: [UInt8](repeating: 0, count: 4500), attempt: 1)),
        ]
        for message in fitting {
            try link.send(message)
            #expect(try peer.receive(.now) != nil, "\(message)")
        }
        #expect(throws: SystemCallError("sendmsg", .messageTooLong)) {
            try link.send(.update(.standby(formats: [String](repeating: "format-v1", count: 2000))))
        }
        // The text is 4,095 bytes of invalid UTF-8.
        #expect(throws: SystemCallError("sendmsg", .messageTooLong)) {
            try link.send(.load(image: String(repeating: "\u{FFFD}", count: 4095), attempt: 1))
        }
        try link.send(.update(.ready))
        #expect(try peer.receive(.now)?.message == .update(.ready), "nothing of the long message was sent")
    }

    @Test("The version has the same form in all versions, and fields of a later version are ignored") func hello() {
        let later = ControlVersion(number: 7, package: "9.8.7")
        let bytes: [UInt8] = Array("LUO!".utf8) + [7, 0, 0, 0, 5, 0] + Array("9.8.7".utf8)
        #expect(ControlMessage.hello(later).bytes == bytes)
        #expect(ControlMessage(bytes + [1, 2, 3]) == .hello(later))
        #expect(ControlMessage([UInt8](bytes.dropLast())) == nil)
        #expect(ControlVersion.own.isOwn && !ControlVersion(number: ControlVersion.current + 1, package: "0.1.0").isOwn)
    }

    @Test("A mismatch names both versions, and the remedy") func mismatch() {
        let image = ControlVersion(number: 7, package: "9.8.7")
        let keeper = ControlVersion(number: 6, package: "9.8.6")
        for text in [
            image.mismatch(of: "/i", withKeeper: keeper), image.mismatch(ofOrchestratorOn: "/s", withKeeper: keeper),
        ] {
            for word in ["9.8.7", "9.8.6", "version 7", "version 6", "luod"] { #expect(text.contains(word), "\(text)") }
        }
    }
}

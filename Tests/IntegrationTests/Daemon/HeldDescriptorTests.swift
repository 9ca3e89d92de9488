// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// `held-fd-v1`: descriptors of unknown state stay open over the restart of their program and updates of luod.
@Suite struct HeldDescriptorTests {
    private let daemon: RunningDaemon
    private let client: DaemonClient

    init() async throws {
        daemon = try await RunningDaemon()
        client = try daemon.connect()
    }

    /// Preserves a descriptor, takes it back before an update, preserves it again, and retrieves it afterwards. Each
    /// time another program would get the descriptor.
    private func throughEverything(
        _ descriptor: consuming OwnedDescriptor, _ check: (FileDescriptor) throws -> Void
    ) throws {
        let session = try client.create("s")
        try session.setDetached(true)
        try session.preserve(descriptor.borrowed, 1, as: .preserveHeld)
        descriptor = try openFile("/dev/null")
        session.close()
        Glibc.kill(try client.status().orchestrator, SIGKILL)
        let again = try client.attach("s")
        let taken = try again.takeDescriptor(1)
        try check(taken.borrowed)
        try again.preserve(taken.borrowed, 2, as: .preserveHeld)
        again.close()
        #expect(try client.change(.update) == nil)
        let came = try client.retrieveSession("s")
        let retrieved = try came.retrieveDescriptor(2)
        try check(retrieved.borrowed)
        _ = retrieved.release()
        try came.finish()
    }

    @Test("A pipe keeps its content") func pipe() throws {
        var ends: [CInt] = [0, 0]
        #expect(unsafe Glibc.pipe(&ends) == 0)
        let writer = OwnedDescriptor(taking: FileDescriptor(rawValue: ends[1]))
        var sent: [UInt8] = []
        func send(_ byte: UInt8) throws {
            _ = try writer.borrowed.writeAll([byte])
            sent.append(byte)
        }
        try send(1)
        var received: [UInt8] = []
        try throughEverything(OwnedDescriptor(taking: FileDescriptor(rawValue: ends[0]))) { reader in
            try send(2)
            var byte = [UInt8](repeating: 0, count: 1)
            #expect(unsafe read(reader.rawValue, &byte, 1) == 1)
            received += byte
        }
        #expect(received == [UInt8](sent.prefix(2)))
    }

    @Test("An eventfd keeps its count") func counter() throws {
        let number = try eventCounter(7)
        var counts: [UInt64] = []
        try throughEverything(OwnedDescriptor(taking: FileDescriptor(rawValue: number))) { descriptor in
            var count: UInt64 = 0
            #expect(unsafe read(descriptor.rawValue, &count, 8) == 8)
            counts.append(count)
            count = 9
            #expect(unsafe write(descriptor.rawValue, &count, 8) == 8)
        }
        #expect(counts == [7, 9])
    }

    @Test("Two eventfds, which share an inode, are two files") func twoCounters() throws {
        let session = try client.create("s")
        let pair = try (0..<2).map { count in
            try MemoryFile(
                taking: OwnedDescriptor(taking: FileDescriptor(rawValue: try eventCounter(CUnsignedInt(count)))))
        }
        #expect(pair[0].identity == pair[1].identity, "the kernel has one inode for all of them")
        for (token, file) in pair.enumerated() {
            try session.preserve(file.descriptor, UInt64(token), as: .preserveHeld)
            #expect(
                try refusal { try session.preserve(file.descriptor, 7) } == .noSuchFileOrDirectory, "only on request")
        }
        #expect(try client.status().sessions.first?.files.map(\.compatible) == ["held-fd-v1", "held-fd-v1"])
    }

    @Test("A socket goes on listening, and clients that connected meanwhile are in its queue") func listener() throws {
        let room = try TemporaryDirectory()
        let listener = try MessageSocket.listen(at: room.file("socket"), mode: [.ownerReadWrite])
        var clients: [OwnedNumber] = []
        func connect() throws { clients.append(OwnedNumber(try MessageSocket.connect(to: room.file("socket")))) }
        try connect()
        try throughEverything(listener) { descriptor in
            #expect(throws: Never.self) { _ = try descriptor.acceptConnection() }
            try connect()
        }
        #expect(clients.count == 3)
    }

    /// A descriptor as a class, for an array.
    private final class OwnedNumber {
        let owned: OwnedDescriptor
        init(_ owned: consuming OwnedDescriptor) { self.owned = owned }
    }
}

/// eventfd(2), which Swift's Glibc module does not have.
private func eventCounter(_ count: CUnsignedInt) throws -> CInt {
    typealias Function = @convention(c) (CUnsignedInt, CInt) -> CInt
    guard let symbol = unsafe dlsym(nil, "eventfd") else { throw SystemCallError("dlsym", .noFunction) }
    return try systemCall("eventfd") { unsafe unsafeBitCast(symbol, to: Function.self)(count, 0) }
}

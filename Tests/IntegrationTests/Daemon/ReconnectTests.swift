// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateDevice
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// A client of an orchestrator that dies before its keeper has the connection.
@Suite struct ReconnectTests {
    private let room: TemporaryDirectory
    private let listener: OwnedSocket

    /// A socket that is closed with the last reference to this object.
    private final class OwnedSocket: Sendable {
        let owned: OwnedDescriptor
        init(_ owned: consuming OwnedDescriptor) { self.owned = owned }
    }

    init() throws {
        room = try TemporaryDirectory()
        listener = OwnedSocket(
            try MessageSocket.listen(at: room.file("liveupdate"), mode: [.ownerReadWrite]))
    }

    /// Accepts connections, one after the other. Each connection answers some requests with EEXIST, and is closed at
    /// the next request.
    private func serve(answers: [Int]) throws -> LiveUpdateDevice {
        let listener = listener
        try startThread {
            for count in answers {
                guard listener.owned.borrowed.isReadable(within: -1),
                    let connection = try? listener.owned.borrowed.acceptConnection()
                else { return }
                for answered in 0...count {
                    _ = connection.borrowed.isReadable(within: -1)
                    guard let message = try? connection.borrowed.receive(.now), answered < count else { break }
                    let tag = message.bytes[76..<84].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
                    let response = Response(
                        result: -Errno.fileExists.rawValue, body: [UInt8](message.bytes[4..<76]), tag: tag)
                    try? connection.borrowed.send(response.bytes)
                }
            }
        }
        return try LiveUpdateDevice.luod(state: FilePath(room.path))
    }

    private func create(_ device: LiveUpdateDevice) -> Errno? {
        do throws(LiveUpdateError) { _ = try device.createSession("s") } catch { return error.errno }
        return nil
    }

    @Test("Before the first answer the client reconnects under the same descriptor, and repeats") func beforeAnAnswer()
        throws
    {
        let device = try serve(answers: [0, 2])
        let number = device.descriptor
        #expect(create(device) == .fileExists)
        #expect(create(device) == .fileExists)
        #expect(device.descriptor == number)
    }

    @Test("After an answer it does not reconnect, because the request may be done") func afterAnAnswer() throws {
        let device = try serve(answers: [1, 1])
        #expect(create(device) == .fileExists)
        #expect(create(device) == .socketNotConnected)
    }

    @Test("The client reconnects once") func again() throws {
        #expect(create(try serve(answers: [0, 0, 1])) == .socketNotConnected)
    }
}

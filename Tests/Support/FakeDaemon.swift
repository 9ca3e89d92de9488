// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
package import SystemPackage

/// A socket like that of luod. A test can use it to send answers that luod never sends.
package final class FakeDaemon: Sendable {
    /// A decoded request.
    package struct Request: Sendable {
        /// The number of the call.
        package let number: UInt8
        /// The struct of the request.
        package let body: [UInt8]
        /// The tag of the request.
        package let tag: [UInt8]

        /// The answer that luod gives: the result, the struct of the request and its tag.
        package func answer(_ result: Int32 = 0, body: [UInt8]? = nil) -> [UInt8] {
            nativeBytes(result) + (body ?? self.body) + tag
        }
    }

    /// A message of the fake daemon.
    package struct Message: Sendable {
        /// The bytes of the message.
        package let bytes: [UInt8]
        /// The descriptors that are sent with the bytes. The test still owns them.
        package let descriptors: [FileDescriptor]

        /// Makes a message of bytes, and of descriptors if there are any.
        package init(_ bytes: [UInt8], _ descriptors: [FileDescriptor] = []) {
            self.bytes = bytes
            self.descriptors = descriptors
        }
    }

    /// The answers to a request: nil ends the connection.
    package typealias Answering = @Sendable (Request) -> [Message]?

    private let directory: TemporaryDirectory
    private let listener: OwnedDescriptor
    private let answering: Answering

    /// Listens for clients on the socket of that name, and answers all requests.
    package init(
        on socket: String = "liveupdate", mode: FilePermissions = [.ownerReadWrite], _ answering: @escaping Answering
    ) throws {
        directory = try TemporaryDirectory()
        listener = try MessageSocket.listen(at: directory.file(socket), mode: mode)
        self.answering = answering
        let descriptor = try listener.borrowed.duplicated().release()
        try startThread {
            while descriptor.isReadable(within: -1), let accepted = try? descriptor.acceptConnection() {
                let client = accepted.release()
                try? startThread { Self.serve(client, answering) }
            }
            try? closeDescriptor(descriptor)
        }
    }

    deinit { listener.borrowed.shutDown() }

    /// The state directory of the fake daemon.
    package var state: String { directory.path }

    /// One side of a session, for the caller to close. The other side answers as the daemon does.
    package static func session(_ answering: @escaping Answering) throws -> FileDescriptor {
        let (ours, theirs) = try MessageSocket.pair()
        try startThread { serve(ours, answering) }
        return theirs
    }

    private static func serve(_ client: FileDescriptor, _ answering: Answering) {
        defer { try? closeDescriptor(client) }
        while client.isReadable(within: -1), let message = try? client.receive(.now) {
            message.close()
            guard message.bytes.count >= 16 else { return }
            // The struct begins with its size.
            let size = min(message.bytes[4..<8].reversed().reduce(0) { $0 << 8 | Int($1) }, message.bytes.count - 12)
            let request = Request(
                number: message.bytes[0], body: [UInt8](message.bytes[4..<4 + size]),
                tag: [UInt8](message.bytes[(4 + size)..<(12 + size)]))
            guard let answers = answering(request) else { return }
            for answer in answers { try? client.send(answer.bytes, answer.descriptors) }
        }
    }
}

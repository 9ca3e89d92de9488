// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// Clients that flood, never read, send garbage, stop or die do not prevent the service of others.
@Suite struct UnrulyClientTests {
    /// Checks that another client is served as always.
    private func expectService(_ daemon: RunningDaemon, _ comment: Comment) throws {
        let client = try daemon.connect()
        let file = try MemoryFile()
        for round in 0..<5 {
            let session = try client.create("service")
            try session.preserve(file, UInt64(round))
            #expect(try session.take(UInt64(round)).identity == file.identity, comment)
            session.close()
        }
        #expect(try client.status().keeper == daemon.keeper, comment)
    }

    /// Sends requests until the queue is full, and reads no answer.
    ///
    /// - Returns: the number of requests.
    private func flood(_ client: DaemonClient, _ request: [UInt8], _ descriptors: [FileDescriptor] = []) throws -> Int {
        var count = 0
        while true {
            do throws(SystemCallError) {
                try client.descriptor.send(request, descriptors)
                count += 1
            } catch {
                if error.errno == .resourceTemporarilyUnavailable { return count }
                throw error
            }
        }
    }

    private let status = Request(.status, body: StatusCall().body, tag: 0).bytes

    @Test("A client sends many requests and never reads: others are served, and it gets all") func neverReads()
        async throws
    {
        let daemon = try await RunningDaemon()
        let flooder = try daemon.connect()
        var asked = try flood(flooder, status)
        #expect(asked > 10)
        try expectService(daemon, "while one does not read")
        asked += try flood(flooder, status)
        Glibc.kill(try daemon.connect().status().orchestrator, SIGKILL)
        try expectService(daemon, "after the orchestrator was replaced")
        var answered = 0
        while flooder.descriptor.isReadable(within: answered < asked ? 60_000 : 0) {
            guard let message = try flooder.descriptor.receive(.now) else { break }
            #expect(message.descriptors.isEmpty && message.bytes.count > 100)
            message.close()
            answered += 1
        }
        // Without a tag one request may be answered twice: the one that was running when the orchestrator died.
        #expect(answered == asked || answered == asked + 1)
    }

    @Test("Many clients flood at once, on many connections, dead and alive") func manyFloods() async throws {
        let daemon = try await RunningDaemon()
        let file = try MemoryFile()
        let check = Request(.check, body: FileCall(token: 1).body, tag: 0).bytes
        var flooders: [DaemonClient] = []
        for number in 0..<40 {
            let client = try daemon.connect()
            if number % 2 == 0 {
                flooders.append(try client.create("s\(number)"))
                _ = try flood(flooders[flooders.count - 1], check, [file.descriptor])
            } else {
                flooders.append(client)
                _ = try flood(client, status)
            }
        }
        try expectService(daemon, "while forty flood")
        flooders = []
        try expectService(daemon, "after they have gone")
    }

    @Test("More descriptors than luod could have in flight, to clients that do not read") func manyReferences()
        async throws
    {
        let room = try TemporaryDirectory()
        let image = room.file("luod")
        try "#!/bin/sh\nulimit -n 128 && exec '\(Program.path("luod"))' \"$@\"\n".write(
            toFile: image, atomically: false, encoding: .utf8)
        _ = unsafe chmod(image, 0o755)
        let daemon = try await RunningDaemon(["--max-descriptors", "128"], image: image)
        let flooders = try (0..<8).map { _ in try daemon.connect() }
        for _ in 0..<3 {
            for flooder in flooders { _ = try flood(flooder, status) }
            try expectService(daemon, "while hundreds of descriptors are under way")
        }
    }

    @Test("Garbage is refused or ends its connection") func rubbish() async throws {
        let daemon = try await RunningDaemon()
        var random = SeededGenerator(seed: announcedSeed("UnrulyClientTests"))
        let file = try MemoryFile()
        for round in 0..<60 {
            let client = try daemon.connect()
            let target = round % 2 == 0 ? client : try client.create("s\(round)")
            for _ in 0..<20 {
                var bytes = (0..<1 + random.index(below: 100)).map { _ in UInt8.random(in: 0...255, using: &random) }
                if bytes.count > 8, let call = Call.allCases.randomElement(using: &random), !call.isPrivileged {
                    bytes.replaceSubrange(0..<4, with: nativeBytes(call.command))
                    if Bool.random(using: &random) {
                        bytes.replaceSubrange(4..<8, with: nativeBytes(UInt32(call.length)))
                    }
                }
                let passed = (0..<random.index(below: 4)).map { _ in file.descriptor }
                try? target.descriptor.send(bytes, passed)
                while let message = try? target.descriptor.receive(.now) { message.close() }
            }
        }
        try expectService(daemon, "after rubbish")
    }

    @Test("A truncated message ends its connection, and no other", arguments: [false, true]) func cut(
        onSession: Bool
    )
        async throws
    {
        let daemon = try await RunningDaemon()
        let client = try daemon.connect()
        let session = try client.create("s")
        let target = onSession ? session : client
        let file = try MemoryFile()
        let message = Request(.ping, body: WordCall().body, tag: 1).bytes
        // The message has one more descriptor than luod accepts in one message.
        let count = MessageSocket.mostDescriptors + 1
        let sent = try sendRights(
            message, [CInt](repeating: file.descriptor.rawValue, count: count), to: target.descriptor)
        try #require(sent, "the kernel passes 253")
        #expect(throws: Refused(errno: .connectionReset)) { try target.answer(to: 1) }
        if onSession {
            #expect(try client.status().sessions.isEmpty, "its session has ended")
        } else {
            try session.preserve(file, 1)
        }
        let long = try daemon.connect()
        try long.descriptor.send([UInt8](repeating: 0, count: 9000))
        #expect(throws: Refused(errno: .connectionReset)) { try long.answer(to: 1) }
        try expectService(daemon, "after cut messages")
    }

    @Test("A client has at most one unread answer, and gets all answers in order")
    func oneUnreadAnswer() async throws {
        let daemon = try await RunningDaemon()
        let client = try daemon.connect()
        for tag in 1...100 as ClosedRange<UInt64> {
            try client.descriptor.send(Request(.ping, body: WordCall().body, tag: tag).bytes)
        }
        // When this returns, luod has handled all earlier requests.
        try expectService(daemon, "beside unread answers")
        try expectOneUnreadAnswer(client)
        for tag in 1...100 as ClosedRange<UInt64> { _ = try client.answer(to: tag) }
    }

    @Test("A client that has shut down its side has at most one unread answer, too") func oneAnswerAfterShutdown()
        async throws
    {
        let daemon = try await RunningDaemon()
        let client = try daemon.connect()
        for tag in 1...40 as ClosedRange<UInt64> {
            try client.descriptor.send(Request(.ping, body: WordCall().body, tag: tag).bytes)
        }
        _ = shutdown(client.descriptor.rawValue, CInt(SHUT_WR))
        // When this returns, luod has handled the connection.
        try expectService(daemon, "after half a close")
        try expectOneUnreadAnswer(client)
        _ = try client.answer(to: 1)
    }

    /// Checks that one answer waits to be read, and no more.
    private func expectOneUnreadAnswer(_ client: DaemonClient) throws {
        var waiting: CInt = 0
        #expect(unsafe ioctl(client.descriptor.rawValue, UInt(FIONREAD), &waiting) == 0)
        let first = try #require(try client.descriptor.receive(.peeking))
        #expect(Int(waiting) == first.bytes.count)
    }

    @Test("A stopped client") func stopped() async throws {
        let daemon = try await RunningDaemon()
        let watching = try Program([Program.path("luoctl"), "status", "--watch", "--state", daemon.state])
        try await eventually("a client", within: 60) { try watching.outputSoFar.contains("boot") }
        Glibc.kill(watching.process, SIGSTOP)
        try expectService(daemon, "while one is stopped")
        #expect(try daemon.connect().change(.update) == nil)
        Glibc.kill(watching.process, SIGCONT)
        try await eventually("its answer", within: 60) { try watching.outputSoFar.contains("boot 2") }
    }

    /// Calls sendmsg(2) with more descriptors than this package ever sends.
    ///
    /// - Returns: whether the kernel accepts that many.
    private func sendRights(_ bytes: [UInt8], _ descriptors: [CInt], to socket: FileDescriptor) throws -> Bool {
        var control: [UInt8] = nativeBytes(UInt64(16 + 4 * descriptors.count))
        control += nativeBytes(CInt(SOL_SOCKET)) + nativeBytes(CInt(1)) + descriptors.flatMap { nativeBytes($0) }
        control += [UInt8](repeating: 0, count: (8 - control.count % 8) % 8)
        var bytes = bytes
        let result = unsafe bytes.withUnsafeMutableBytes { bytes in
            unsafe control.withUnsafeMutableBytes { control in
                var part = unsafe iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)
                return unsafe withUnsafeMutablePointer(to: &part) { part in
                    var message = unsafe msghdr()
                    unsafe message.msg_iov = part
                    unsafe message.msg_iovlen = 1
                    unsafe message.msg_control = control.baseAddress
                    unsafe message.msg_controllen = control.count
                    return unsafe sendmsg(socket.rawValue, &message, 0)
                }
            }
        }
        return result == bytes.count
    }
}

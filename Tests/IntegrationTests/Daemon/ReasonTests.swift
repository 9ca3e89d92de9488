// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdateDevice
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// The reasons in luod's answers: their bytes, their text in luoctl, and the names that they must not show.
@Suite(.requiresRoot) struct ReasonTests {
    private let daemon: RunningDaemon
    private let user: uid_t = 2002

    init() async throws { daemon = try await RunningDaemon(["--socket-mode", "0666"]) }

    /// The bytes of the answer to a request.
    private func bytes(_ client: DaemonClient, _ request: [UInt8]) throws -> [UInt8] {
        try client.descriptor.send(request)
        #expect(client.descriptor.isReadable(within: 60_000))
        let message = try #require(try client.descriptor.receive(.now))
        message.close()
        return message.bytes
    }

    @Test("An answer is unchanged without the flag; with it come the struct, the tag and the reason")
    func wire() throws {
        let client = try daemon.connect()
        let held = try client.create("vm")
        let create = Request(.createSession, body: NameCall("vm").body, tag: 0x0102_0304_0506_0708)
        let tag = nativeBytes(create.tag)
        let exists = nativeBytes(-Errno.fileExists.rawValue)
        #expect(try bytes(client, create.bytes) == exists + tag)
        let answer = try bytes(client, create.bytes.dropLast(8) + nativeBytes(UInt64(5)) + nativeBytes(UInt32(1)))
        #expect(answer.starts(with: exists + create.body + nativeBytes(UInt64(5))))
        let text = String(decoding: answer.dropFirst(4 + 72 + 8), as: UTF8.self)
        #expect(text.contains("\"vm\"") && text.split(separator: "\n").count == 2, "\(text)")
        // A successful answer has no text.
        let preserve = Request(.setDetached, body: WordCall(1).body, tag: 6, wantsReason: true)
        #expect(
            try bytes(held, preserve.bytes) == nativeBytes(Int32(0)) + preserve.body + nativeBytes(UInt64(6)))
        // This message is not a request.
        let unknown = nativeBytes(UInt32(0xBA7E)) + WordCall().body
        #expect(try bytes(client, unknown + tag) == nativeBytes(Int32(-22)) + tag)
        let refused = try bytes(client, unknown + tag + nativeBytes(UInt32(1)))
        #expect(refused.starts(with: nativeBytes(Int32(-22)) + WordCall().body + tag))
        #expect(String(decoding: refused.dropFirst(4 + 8 + 8), as: UTF8.self).contains("0x7e"))
    }

    @Test("luoctl prints luod's text: session, token, and remedy") func words() async throws {
        func ctl(_ arguments: String..., says words: String...) async throws {
            let ended = try await run([Program.path("luoctl")] + arguments + ["--state", daemon.state])
            #expect(ended.status == 1, "\(ended)")
            for word in words { #expect(ended.errors.contains(word), "\(word): \(ended)") }
        }
        let held = try daemon.connect().create("held")
        try daemon.connect().create("vm").setDetached(true)
        try await ctl("session", "create", "vm", says: "EEXIST", "an outgoing session \"vm\" exists", "session rm")
        try await ctl("session", "attach", "held", says: "EBUSY", "session \"held\" is not detached")
        try await ctl("session", "attach", "none", says: "ENOENT", "no session \"none\"", "session create")
        try await ctl(
            "unpreserve", "--session", "vm", "--token", "7", says: "ENOENT", "no token 7", "luoctl status")
        let device = try openFile("/dev/null")
        let refused = try await run(
            [Program.path("luoctl"), "preserve", "--session", "vm", "--token", "1", "--fd", "3"],
            environment: ["LUO_STATE=\(daemon.state)"], inheriting: device.borrowed)
        #expect(refused.status == 1 && refused.errors.contains("memfd-extents-v1: "), "\(refused)")
        #expect(refused.errors.contains("luoctl check"), "\(refused)")
        _ = device.release()
        held.close()
    }

    @Test("A name with control characters is escaped, and the reason has at most 1,024 bytes") func escaped() throws {
        let client = try daemon.connect()
        let name = SessionName(bytes: Array("\u{1B}[2J\u{7}\n".utf8) + [UInt8](repeating: 0xFF, count: 50))
        let held = try client.create(name)
        let request = Request(.createSession, body: NameCall(name).body, tag: 3, wantsReason: true)
        let text = try bytes(client, request.bytes).dropFirst(4 + 72 + 8)
        #expect(text.count <= 1024 && text.count > 200)
        #expect(text.allSatisfy { $0 >= 0x20 || $0 == 0x0A })
        #expect(text.count { $0 == 0x0A } == 1, "only before the remedy")
        held.close()
    }

    /// Calls that name a session that does not exist, or another user's session.
    private func failures(_ device: LiveUpdateDevice, naming name: SessionName) -> [LiveUpdateError] {
        let calls: [() throws -> Void] = [
            { _ = try device.retrieveSession(name) }, { _ = try device.attachSession(name) },
            { _ = try device.attachSession(name, .incoming) }, { try device.removeSession(name, force: true) },
        ]
        return calls.compactMap { failure($0) }
    }

    /// Calls that fail for a user, and do not name another user's objects.
    private func failures(_ device: LiveUpdateDevice, _ own: DeviceSession, _ file: MemoryFile) -> [LiveUpdateError] {
        let calls: [() throws -> Void] = [
            { _ = try device.createSession("own") }, { _ = try device.createSession("") }, { _ = try device.load() },
            { _ = try device.update() }, { _ = try device.reload() }, { try device.stop() }, { try device.act(as: 7) },
            { try device.serve(programsUnder: file.descriptor) }, { try own.preserve(file.descriptor, token: 1) },
            { try own.preserve(FileDescriptor(rawValue: 9999), token: 3) }, { try own.unpreserve(token: 5) },
            { _ = try own.get(token: 5) }, { _ = try own.retrieve(token: 1) }, { _ = try own.retrieveAsHeld(token: 1) },
            { try own.finish() },
        ]
        return calls.compactMap { failure($0) }
    }

    @Test("No reason names a session, a token or a user that the caller's status does not show") func secrets() throws {
        let root = try daemon.connect()
        let (file, other) = (try MemoryFile(bytes: [1]), try MemoryFile())
        let secret = try root.create("secret-session")
        try secret.preserve(file, 987_654_321)
        let device = try asUser(user) { try LiveUpdateDevice.luod(state: FilePath(daemon.state)) }
        let own = try device.createSession("own")
        try own.preserve(other.descriptor, token: 1)
        func check() {
            let errors = failures(device, own, file)
            #expect(errors.count >= 14, "\(errors)")
            for text in errors.map({ "\($0)" }) {
                for word in ["no reason", "user 0", "secret-session", "987654321"] {
                    #expect(!text.contains(word), "\(word): \(text)")
                }
            }
            let theirs = failures(device, naming: "secret-session")
            #expect(theirs.count == 4)
            #expect(
                theirs.map { "\($0)".replacingOccurrences(of: "secret-session", with: "no-session") }
                    == failures(device, naming: "no-session").map { "\($0)" }, "as if there were none")
        }
        check()
        #expect(try root.change(.update) == nil)
        check()
        secret.close()
    }
}

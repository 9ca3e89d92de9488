// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// Images that cannot be the next luod, and files that cannot be frozen. Nothing changes, and the message gives the
/// reason.
@Suite struct BadImageTests {
    private let daemon: RunningDaemon
    private let client: DaemonClient
    private let session: DaemonClient
    private let file: MemoryFile
    private let room: TemporaryDirectory

    /// Makes a session with a memory file. Each test finds them again after a successful update.
    init() async throws {
        daemon = try await RunningDaemon()
        client = try daemon.connect()
        session = try client.create("s")
        file = try MemoryFile(bytes: [1, 2, 3])
        try session.preserve(file, 1)
        room = try TemporaryDirectory()
    }

    /// A program that runs as the next luod. Its descriptor 3 leads to the keeper.
    private func image(_ script: String, mode: mode_t = 0o755) throws -> String {
        let path = room.file("image")
        try "#!/bin/sh\n\(script)\n".write(toFile: path, atomically: false, encoding: .utf8)
        _ = unsafe chmod(path, mode)
        return path
    }

    private func expectRefusal(
        _ call: Call, _ image: String, _ errno: Errno, _ words: String...
    ) throws {
        let refused = try #require(try client.change(call, image: image))
        #expect(refused.errno == errno, "\(refused)")
        for word in words { #expect(refused.why.contains(word), "\(refused.why)") }
    }

    /// Checks that the earlier boot still runs, and can be updated.
    private func expectAsBefore() throws {
        #expect(try client.status().updates == 0)
        #expect(try refusal { try session.preserve(file, 1) } == .fileExists)
        let other = try MemoryFile()
        try session.preserve(other, 2)
        #expect(try session.take(2).identity == other.identity)
        #expect(try client.change(.update) == nil)
        #expect(try client.retrieveSession("s").retrieve(1).bytes() == [1, 2, 3])
    }

    @Test("Images that do not exist, are not executable, or are no programs", arguments: [Call.load, .update, .reload])
    func notStarted(call: Call) throws {
        try expectRefusal(call, room.file("none"), .notSupported, room.file("none"), "could not be started")
        let image = try image("exit 0", mode: 0o644)
        try expectRefusal(call, image, .notSupported, image, "could not be started")
        try expectRefusal(call, room.path, .notSupported, room.path, "could not be started")
        try expectAsBefore()
    }

    // A load and a reload with such images differ from an update in decisions only: OutgoingUpdateTests has those.

    @Test("A program other than luod") func notOurs() throws {
        try expectRefusal(
            .update, "/bin/false", .notSupported, "the image ended", "/bin/false has not said its version")
        try expectRefusal(.update, try image("kill -SEGV $$"), .notSupported, "the image ended", "signal 11")
        try expectAsBefore()
    }

    /// Reports one format, `abc-v1`, twice: when the image reads, and again when it holds everything.
    private static let standby =
        ([hello(version: "\\001")]
        + [String](
            repeating: "printf '\\006\\000\\000\\000\\000\\000\\000\\000\\006\\000abc-v1' >&3", count: 2))
        .joined(separator: "\n")

    /// The hello of luod 9.8.7 with a version of the control link below 256, as printf(1) writes a byte.
    private static func hello(version: String) -> String {
        "printf 'LUO!\(version)\\000\\000\\000\\005\\0009.8.7' >&3"
    }

    @Test("An image with another version of the control link: both versions are named") func otherVersion() throws {
        let path = try image("\(Self.hello(version: "\\377"))\nexec cat <&3 >/dev/null")
        try expectRefusal(
            .update, path, .notSupported, path, "luod 9.8.7 with version 255", "and the keeper that runs is luod",
            "luoctl stop")
        try expectAsBefore()
    }

    @Test("An image that does not begin with its version") func noVersion() throws {
        let path = try image("printf '\\006\\000\\000\\000\\000\\000\\000\\000' >&3\nexec cat <&3 >/dev/null")
        try expectRefusal(.update, path, .notSupported, path, "did not begin with its version")
        try expectAsBefore()
    }

    @Test("An image that lacks a format in use: the string is named") func lacksFormat() throws {
        let image = try image("\(Self.standby)\nexec cat <&3 >/dev/null")
        try expectRefusal(.update, image, .notSupported, "\"memfd-extents-v1\"")
        try expectAsBefore()
    }

    @Test("Formats in use are compared again when the update comes") func lacksFormatLater() throws {
        let kept = try session.take(1)
        #expect(try client.change(.load, image: try image("\(Self.standby)\nexec cat <&3 >/dev/null")) == nil)
        try session.preserve(kept, 1)
        try expectRefusal(.update, "", .notSupported, "\"memfd-extents-v1\"")
        try expectAsBefore()
    }

    @Test("An image that ends instead of taking over") func endsInUpdate() throws {
        let kept = try session.take(1)
        // Seven messages end with the last one before `prepare`: hello, settings, stored, begin, hold, begin, begin.
        // Two more end with the last one before `handOver`.
        let read = "dd bs=65536 count=1 <&3 >/dev/null 2>&1"
        let prepared = "printf '\\016\\000\\000\\000\\000\\000\\000\\000' >&3"
        let script = [Self.standby] + [String](repeating: read, count: 7)
        let early = try image((script + ["exit 3"]).joined(separator: "\n"))
        try expectRefusal(.update, early, .notSupported, "the image ended", "exit code 3")
        let late = try image((script + [prepared, read, read, "exit 4"]).joined(separator: "\n"))
        try expectRefusal(.update, late, .canceled, "the image ended", "exit code 4")
        try session.preserve(kept, 1)
        try expectAsBefore()
    }

    @Test("A failed freeze thaws, and names the file and the reason", arguments: [false, true])
    func freeze(isLoaded: Bool) throws {
        let other = try client.create("t")
        let grown = try MemoryFile(size: 4096)
        try other.preserve(grown, 77)
        try grown.descriptor.setSize(8192)
        if isLoaded { #expect(try client.change(.load) == nil) }
        try expectRefusal(.update, "", .staleNFSFileHandle, "token 77", "8192", "4096")
        try expectRefusal(.update, "", .staleNFSFileHandle, "token 77")
        #expect(try client.change(.reload) == nil, "a reload freezes nothing")
        try grown.descriptor.setSize(4096)
        try expectAsBefore()
        #expect(try client.retrieveSession("t").retrieve(77).identity == grown.identity)
    }
}

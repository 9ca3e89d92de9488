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

/// The limits of one user, as luod's command line sets them. Each limit has its own error, with a remedy.
@Suite(.requiresRoot) struct UserLimitTests {
    private func device(_ daemon: RunningDaemon, as user: uid_t = nobody) throws -> LiveUpdateDevice {
        try asUser(user) { try LiveUpdateDevice.luod(state: FilePath(daemon.state)) }
    }

    private func expect(_ error: LiveUpdateError?, _ errno: Errno, _ option: String) {
        #expect(error?.errno == errno, "\(error?.description ?? "nothing")")
        #expect(
            error?.remedy?.contains("\(option) ") == true || error?.remedy?.hasSuffix(option) == true,
            "\(error?.remedy ?? "")")
    }

    @Test("Sessions: EUSERS") func sessions() async throws {
        let daemon = try await RunningDaemon(["--socket-mode", "0666", "--max-sessions", "2"])
        let (mine, other, root) = (try device(daemon), try device(daemon, as: nobody - 1), try device(daemon, as: 0))
        var sessions = [try mine.createSession("a"), try mine.createSession("b")]
        expect(failure { try mine.createSession("c") }, .tooManyUsers, "--max-sessions")
        sessions.append(try other.createSession("c"))
        for name: SessionName in ["a", "b", "c"] { sessions.append(try root.createSession(name)) }
        sessions.removeFirst().shutDown()
        sessions.append(try mine.createSession("c"))
        try root.update()
        expect(failure { try mine.createSession("d") }, .tooManyUsers, "--max-sessions")
        sessions = []
        for name: SessionName in ["b", "c"] {
            let session = try mine.retrieveSession(name)
            try session.finish()
            session.shutDown()
        }
        _ = try mine.createSession("d")
    }

    @Test("Files: EDQUOT") func files() async throws {
        let daemon = try await RunningDaemon(["--socket-mode", "0666", "--max-files", "2"])
        let mine = try device(daemon)
        let session = try mine.createSession("a")
        let files = try (0..<3).map { _ in try MemoryFile() }
        for token in 0..<2 { try session.preserve(files[token].descriptor, token: UInt64(token)) }
        let refused = failure { try session.preserve(files[2].descriptor, token: 2) }
        expect(refused, .diskQuotaExceeded, "--max-files")
        let held = failure { try session.preserveHeld(files[2].descriptor, token: 2) }
        expect(held, .diskQuotaExceeded, "--max-files")
        let roots = try device(daemon, as: 0).createSession("a")
        try roots.preserve(files[2].descriptor, token: 2)
        try roots.unpreserve(token: 2)
        try session.unpreserve(token: 0)
        try session.preserve(files[2].descriptor, token: 2)
    }

    @Test("Memory: EDQUOT, also when a file is filled after it was preserved") func memory() async throws {
        let daemon = try await RunningDaemon(["--socket-mode", "0666", "--max-user-memory", "1M"])
        let session = try device(daemon).createSession("a")
        let large = try MemoryFile(size: 2 << 20)
        try large.write([UInt8](repeating: 1, count: 2 << 20), at: 0)
        for refused in [
            failure { try session.preserve(large.descriptor, token: 1) },
            failure { try session.preserveHeld(large.descriptor, token: 1) },
        ] { #expect(refused?.errno == .diskQuotaExceeded) }
        let growing = try MemoryFile(size: 2 << 20)
        try session.preserve(growing.descriptor, token: 1)
        let small = try MemoryFile()
        try session.preserve(small.descriptor, token: 2)
        try growing.write([UInt8](repeating: 1, count: 2 << 20), at: 0)
        try await eventually("another look at the sizes", within: 60) {
            let small = try MemoryFile()
            let refused = failure { try session.preserve(small.descriptor, token: 3) }
            if refused == nil { try session.unpreserve(token: 3) }
            return refused?.errno == .diskQuotaExceeded
        }
        for user: UInt32 in [0, nobody] {
            let lines = try device(daemon, as: user).statusPage().lines
            let line = #""memory":[{"user":\#(nobody),"page_size":4096,"bytes":2097152,"limit":1048576}]"#
            #expect(String(decoding: lines, as: UTF8.self).contains(line))
        }
        try device(daemon, as: 0).createSession("a").preserve(large.descriptor, token: 1)
        try session.unpreserve(token: 1)
        let another = try MemoryFile()
        try session.preserve(another.descriptor, token: 3)
    }

    @Test("Bytes of the arena: ENOSPC") func arena() async throws {
        let daemon = try await RunningDaemon(["--socket-mode", "0666", "--max-user-arena", "4096"])
        let session = try device(daemon).createSession("a")
        // Every second page is a hole, so each page needs a record.
        let large = try MemoryFile(size: 4096 * 2000)
        for page in stride(from: 0, to: 2000, by: 2) { try large.write([1], at: UInt64(page) * 4096) }
        let refused = failure { try session.preserve(large.descriptor, token: 1) }
        expect(refused, .noSpace, "--max-user-arena")
        let small = try MemoryFile()
        try session.preserve(small.descriptor, token: 1)
        try device(daemon, as: 0).createSession("a").preserve(large.descriptor, token: 1)
    }

    @Test("Descriptors: EMFILE") func descriptors() async throws {
        let daemon = try await RunningDaemon(["--socket-mode", "0666", "--max-user-descriptors", "6"])
        let mine = try device(daemon)
        let session = try mine.createSession("a")
        let files = try (0..<5).map { _ in try MemoryFile() }
        for token in 0..<4 { try session.preserve(files[token].descriptor, token: UInt64(token)) }
        let option = "--max-user-descriptors"
        expect(failure { try session.preserve(files[4].descriptor, token: 4) }, .tooManyOpenFiles, option)
        expect(failure { try mine.createSession("b") }, .tooManyOpenFiles, option)
        #expect(try mine.status().sessions.map(\.name) == ["a"], "a call that holds nothing more works")
        try session.unpreserve(token: 0)
        try mine.createSession("b").shutDown()
        try session.preserve(files[4].descriptor, token: 4)
    }

    @Test("Connections: EMFILE, but a few are possible for releases") func connections() async throws {
        let daemon = try await RunningDaemon(["--socket-mode", "0666", "--max-user-descriptors", "6"])
        var devices = try (0..<6).map { _ in try device(daemon) }
        for device in devices { _ = try device.status() }
        let refused = try device(daemon)
        expect(failure { try refused.status() }, .tooManyOpenFiles, "--max-user-descriptors")
        #expect(failure { try refused.status() } != nil, "it is closed")
        devices.removeLast().shutDown()
        _ = try devices[0].status()
        let session = try devices[0].createSession("a")
        for _ in 0..<3 { devices.removeLast().shutDown() }
        let files = try (0..<3).map { _ in try MemoryFile() }
        for token in 0..<3 { try session.preserve(files[token].descriptor, token: UInt64(token)) }
        for _ in 0..<2 { devices.append(try device(daemon)) }
        for device in devices { _ = try device.status() }
        expect(failure { try device(daemon).status() }, .tooManyOpenFiles, "--max-user-descriptors")
        _ = try device(daemon, as: 0).status()
    }

    @Test("A luod without free descriptors refuses new clients, and serves its present ones") func exhausted()
        async throws
    {
        let room = try TemporaryDirectory()
        let image = room.file("luod")
        try "#!/bin/sh\nulimit -n 160 && exec '\(Program.path("luod"))' \"$@\"\n".write(
            toFile: image, atomically: false, encoding: .utf8)
        _ = unsafe chmod(image, 0o755)
        let daemon = try await RunningDaemon(["--socket-mode", "0666", "--max-descriptors", "160"], image: image)
        let first = try daemon.connect()
        let session = try first.create("s")
        let others = try (0..<80).map { _ in try device(daemon, as: 0) }
        let last = try #require(others.last)
        expect(failure { try last.status() }, .tooManyOpenFiles, "--max-descriptors")
        #expect(try refusal { try first.create("t") } == .tooManyOpenFiles)
        #expect(try refusal { try session.preserve(try MemoryFile(), 1) } == .tooManyOpenFiles)
        #expect(try first.status().sessions.count == 1)
        for device in others.prefix(40) { device.shutDown() }
        // luod closes their descriptors a moment later.
        let file = try MemoryFile()
        try await eventually("room for a descriptor", within: 60) {
            try refusal { try session.preserve(file, 1) } == nil
        }
        _ = try device(daemon, as: 0).status()
    }
}

// The connection is shut down, because another test may be starting a program, which has a copy of each descriptor
// until it executes.
extension LiveUpdateDevice {
    /// Ends the connection, even if other processes have copies of it.
    fileprivate func shutDown() { _ = shutdown(descriptor.rawValue, CInt(SHUT_RDWR)) }
}

extension DeviceSession {
    /// Ends the session, as its last close does.
    fileprivate func shutDown() { _ = shutdown(descriptor.rawValue, CInt(SHUT_RDWR)) }
}

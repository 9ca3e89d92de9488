// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import SystemPackage
import TestSupport
import Testing

/// Unexpected behaviour of callers and handlers.
@Suite struct HostileHandlerTests {
    @Test("Names are bytes: names that Unicode calls equivalent are different sessions")
    func namesAreBytes() throws {
        let boot = try Machine().boot(.nextBoot, TestHandler())
        _ = try boot.createSession("caf\u{E9}")
        #expect(errno { try boot.createSession("cafe\u{301}") } == nil)
        #expect(errno { try boot.createSession("caf\u{E9}") } == .fileExists)
    }

    @Test("A handler that stores nothing: the arena opens after a crash")
    func nothingIsStored() throws {
        let machine = try Machine()
        let handler = TestHandler { hooks in
            hooks.preserve = { file throws(LiveUpdateError) in try file.storage.store([]) }
        }
        let files = try (0..<8).map { _ in try MemoryFile() }
        let session = try machine.boot(.nextBoot, handler).createSession("s")
        for (token, file) in files.enumerated() { try session.preserve(file.descriptor, token: UInt64(token)) }
        #expect(try machine.boot(.sameBoot, handler).status().sessions.first?.files.count == 8)
    }

    @Test("A number that is no errno is remembered as EIO, also after a crash", arguments: [0, -1, 5000] as [CInt])
    func noErrno(number: CInt) throws {
        let machine = try Machine()
        let handler = TestHandler { hooks in
            hooks.retrieve = { _ throws(LiveUpdateError) in throw LiveUpdateError(Errno(rawValue: number), "odd") }
        }
        let file = try MemoryFile()
        let boot = try machine.boot(.nextBoot, handler)
        try boot.createSession("s").preserve(file.descriptor, token: 1)
        try boot.publish()
        let came = try machine.boot(.nextBoot, handler).retrieveSession("s")
        _ = errno { try came.retrieve(token: 1) }
        #expect(errno { try came.retrieve(token: 1) } == .ioError)
        let rebuilt = try machine.boot(.sameBoot, handler)
        #expect(try rebuilt.status().sessions.first?.files.first?.retrieveStatus == .failed(errno: 5))
    }
}

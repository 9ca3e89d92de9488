// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// A client's own limits are checked after all errors of the request itself, and before the request changes anything.
@Suite struct AdmissionTests {
    private let machine: Machine
    private let handler = TestHandler()
    private let flb = TestFLB()
    private let boot: Orchestrator
    private let session: Session
    private let file: MemoryFile

    private static let user = SessionHolder(user: 7)
    private static let full = LiveUpdateError(.tooManyOpenFiles, "full")

    init() throws {
        machine = try Machine()
        boot = try machine.boot(.nextBoot, handler, flb)
        session = try boot.createSession("s", holder: Self.user)
        file = try MemoryFile()
    }

    private func refused(_ descriptor: FileDescriptor, _ token: UInt64) -> Errno? {
        errno { try session.preserve(descriptor, token: token) { () throws(LiveUpdateError) in throw Self.full } }
    }

    @Test("A preserve: after EEXIST, EBADF, ENOENT, EBUSY and EDQUOT, before FLBs and handler") func preserve() throws {
        try session.preserve(file.descriptor, token: 1)
        let other = try MemoryFile()
        handler.clear()
        #expect(refused(other.descriptor, 1) == .fileExists)
        #expect(refused(FileDescriptor(rawValue: -1), 2) == .badFileDescriptor)
        handler.change { hooks in hooks.accepts = { _ in false } }
        #expect(refused(other.descriptor, 2) == .noSuchFileOrDirectory)
        handler.change { hooks in hooks.accepts = { _ in true } }
        #expect(refused(file.descriptor, 2) == .resourceBusy)
        try boot.limitUsers(to: UserLimits(files: 1))
        #expect(refused(other.descriptor, 2) == .diskQuotaExceeded)
        try boot.limitUsers(to: UserLimits())
        let before = try machine.file.bytes()
        #expect(refused(other.descriptor, 2) == .tooManyOpenFiles)
        #expect(handler.calls.isEmpty && flb.calls == ["preserve"])
        #expect(try machine.file.bytes() == before)
        #expect(machine.descriptors.held.count == 1)
        try session.preserve(other.descriptor, token: 2)
    }

    @Test("A create: after EINVAL, EEXIST and EUSERS; and the caller can read the usage of its user") func create()
        throws
    {
        func refused(_ name: SessionName) -> Errno? {
            errno {
                try boot.createSession(name, holder: Self.user) { () throws(LiveUpdateError) in
                    #expect(boot.usage(of: 7).sessions == 1)
                    throw Self.full
                }
            }
        }
        #expect(refused("") == .invalidArgument)
        #expect(refused("s") == .fileExists)
        try boot.limitUsers(to: UserLimits(sessions: 1))
        #expect(refused("t") == .tooManyUsers)
        try boot.limitUsers(to: UserLimits())
        #expect(refused("t") == .tooManyOpenFiles)
        #expect(try boot.status().sessions.map(\.name) == ["s"])
        _ = try boot.createSession("t", holder: Self.user) {}
    }
}

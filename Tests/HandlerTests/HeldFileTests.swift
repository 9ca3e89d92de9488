// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdateHandlers
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// `held-fd-v1` holds a descriptor and not its file. The same file can be preserved again, even while a user holds it.
@Suite struct HeldFileTests {
    /// `O_PATH`, which Swift's Glibc module does not have.
    private static let pathOnly: CInt = 0o10_000_000

    private func boot(_ machine: Machine, _ opening: Orchestrator.Opening = .nextBoot) throws -> Orchestrator {
        let orchestrator = try machine.boot(opening) { orchestrator in
            _ = try orchestrator.registerStandardHandlers()
            if try !orchestrator.registrations().contains(where: { $0.handler.compatible == HeldFileHandler.format }) {
                try orchestrator.register(HeldFileHandler())
            }
        }
        try orchestrator.open()
        return orchestrator
    }

    @Test("A held descriptor, also with O_PATH, does not stop the owner of the file from preserving it")
    func pathDescriptor() throws {
        let machine = try Machine()
        let first = try boot(machine)
        let file = try TestFile(size: 4096)
        let number = unsafe open("/proc/self/fd/\(file.descriptor.rawValue)", Self.pathOnly | O_CLOEXEC)
        let named = OwnedDescriptor(taking: FileDescriptor(rawValue: number))
        let stranger = try first.createSession("s", holder: SessionHolder(user: 8))
        try stranger.preserve(named.borrowed, token: 1, as: HeldFileHandler.format)
        let owner = try first.createSession("s", holder: SessionHolder(user: 7))
        try owner.preserve(file.descriptor, token: 1, as: HeldFileHandler.format)
        try owner.preserve(file.descriptor, token: 2)
        try owner.preserve(file.descriptor, token: 3, as: HeldFileHandler.format)
        #expect(errno { try owner.preserve(file.descriptor, token: 4) } == .resourceBusy)
        try first.publish()
        let next = try boot(machine)
        #expect(try next.retrieveSession("s", holder: SessionHolder(user: 7)).tokens == [1, 2, 3])
        #expect(try boot(machine, .sameBoot).status().sessions.map(\.files.count) == [1, 3])
    }
}

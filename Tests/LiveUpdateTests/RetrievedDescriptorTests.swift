// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// A retrieved descriptor is the caller's own. The session holds another one until it is finished.
@Suite struct RetrievedDescriptorTests {
    private let machine: Machine
    private let handler = TestHandler()
    private let file: MemoryFile
    private let session: Session

    init() throws {
        machine = try Machine()
        file = try MemoryFile()
        let boot = try machine.boot(.nextBoot, handler)
        try boot.createSession("s").preserve(file.descriptor, token: 1)
        try boot.publish()
        session = try machine.boot(.nextBoot, handler).retrieveSession("s")
    }

    /// The number of the descriptor that the session holds.
    private func heldNumber() throws -> CInt {
        let slot = try #require(machine.descriptors.held.first)
        return try #require(machine.descriptors.descriptor(in: slot)).rawValue
    }

    @Test("Each retrieve returns a new descriptor of the same open file description")
    func newDescriptors() throws {
        let first = try session.retrieve(token: 1)
        let second = try session.retrieve(token: 1)
        let numbers = [try heldNumber(), first.borrowed.rawValue, second.borrowed.rawValue, file.descriptor.rawValue]
        #expect(Set(numbers).count == 4)
        try file.descriptor.setPosition(77)
        #expect(try [first.borrowed.position(), second.borrowed.position()] == [77, 77])
    }

    @Test("A retrieved descriptor stays valid after the finish, which closes the descriptor of the session")
    func validAfterFinish() throws {
        let came = try session.retrieve(token: 1)
        try session.finish()
        #expect(machine.descriptors.held.isEmpty)
        #expect(try FileStatus(of: came.borrowed).identity == file.identity)
    }

    @Test("A retrieved descriptor can be closed before the finish, and the file retrieved again")
    func closedBeforeFinish() throws {
        _ = try session.retrieve(token: 1)  // closed at once
        #expect(try FileStatus(of: FileDescriptor(rawValue: heldNumber())).identity == file.identity)
        let came = try session.retrieve(token: 1)
        #expect(try FileStatus(of: came.borrowed).identity == file.identity)
        try session.finish()
        #expect(machine.descriptors.held.isEmpty)
    }

    @Test("Without a free descriptor a retrieve throws EMFILE, and can be repeated without a second callback")
    func noFreeDescriptor() throws {
        for _ in 0..<2 {
            let (failure, _) = FaultInjector.failing(call: 1, with: .tooManyOpenFiles, fromThenOn: false) {
                errno { try session.retrieve(token: 1) }
            }
            #expect(failure == .tooManyOpenFiles)
            #expect(machine.descriptors.held.count == 1)
        }
        let came = try session.retrieve(token: 1)
        #expect(try FileStatus(of: came.borrowed).identity == file.identity)
        #expect(handler.count("retrieve") == 1)
        try session.finish()
        #expect(machine.descriptors.held.isEmpty)
    }
}

// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateHandlers
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateCore

/// The properties of an ordinary memory file that an update keeps. ``MemfdExtentsTests`` covers the content.
@Suite struct MemfdTests {
    private let machine: Machine

    init() throws { machine = try Machine() }

    private func record(_ carried: Carried) throws -> MemfdRecord {
        try MemfdRecord(at: carried.boot.file(1).data, in: machine.storage())
    }

    @Test(arguments: [0, 1, 4095, 4096, 4097, 1 << 40] as [UInt64])
    func size(_ size: UInt64) throws {
        let file = try TestFile(size: size)
        let carried = try machine.carry(file)
        #expect(try carried.file.status.size == size)
        #expect(try record(carried).size == size)
        #expect(try carried.file.status.identity == file.status.identity)
    }

    @Test("The position stays, also beyond the end", arguments: [0, 1, 4096, 1 << 50] as [Int64])
    func position(_ position: Int64) throws {
        let file = try TestFile(size: 4096)
        try file.descriptor.setPosition(position)
        let carried = try machine.carry(file) { _ in
            let now = try file.descriptor.position()
            #expect(now == position, "preserve moves no offset that users share")
        }
        #expect(try carried.file.descriptor.position() == position)
        #expect(try record(carried).position == UInt64(position))
    }

    @Test func aPositionChangedAfterPreserveIsTheOneThatTravels() throws {
        let file = try TestFile(size: 4096)
        let carried = try machine.carry(file) { _ in try file.descriptor.setPosition(77) }
        #expect(try record(carried).position == 77)
        #expect(try carried.file.descriptor.position() == 77)
    }

    @Test func aSealAddedAfterPreserveIsKept() throws {
        let file = try TestFile(pages: [0], of: 1)
        let carried = try machine.carry(file) { _ in try file.descriptor.addSeals([.write, .seal]) }
        #expect(try carried.file.descriptor.seals() == [.write, .seal])
    }

    @Test("The access mode and the status flags are those of the open file description")
    func flags() throws {
        let file = try TestFile(pages: [0], of: 1)
        for flags in [O_RDONLY, O_WRONLY, O_RDWR | O_APPEND] {
            let carried = try Machine().carry(try TestFile(reopening: file, flags))
            let status = fcntl(carried.file.descriptor.rawValue, F_GETFL)
            #expect(status & (O_ACCMODE | O_APPEND) == flags)
        }
    }

    @Test func theDescriptorThatComesBackIsClosedOnExec() throws {
        let carried = try machine.carry(try TestFile(size: 4096))
        #expect(fcntl(carried.file.descriptor.rawValue, F_GETFD) == FD_CLOEXEC)
    }

    @Test func theSameOpenFileDescriptionComesBack() throws {
        let file = try TestFile(size: 4096)
        let carried = try machine.carry(file)
        try file.descriptor.setPosition(123)
        #expect(try carried.file.descriptor.position() == 123)
    }

    @Test func afterFinishItIsFreeAndNoCopyIsKept() throws {
        let file = try TestFile(size: 4096)
        let carried = try machine.carry(file)
        try carried.session.finish()
        #expect(machine.descriptors.held.isEmpty)
        try carried.boot.orchestrator.createSession("again").preserve(file.descriptor, token: 1)
        #expect(machine.descriptors.held.count == 1)
    }
}

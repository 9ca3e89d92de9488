// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

/// The records of an FLB have a checksum, as those of files have. The FLB's callbacks never get a damaged record.
@Suite struct FLBRecordTests {
    private let machine: Machine
    private let file: MemoryFile
    private let flb = TestFLB { hooks in
        hooks.preserve = { context throws(LiveUpdateError) in
            try context.storage.store([UInt8](repeating: 7, count: 1000))
        }
        hooks.serialize = { context throws(LiveUpdateError) in
            try context.storage.store([UInt8](repeating: 8, count: 1000))
        }
    }

    init() throws {
        machine = try Machine()
        file = try MemoryFile()
        let boot = try machine.boot(.nextBoot, TestHandler(), flb)
        try boot.createSession("s").preserve(file.descriptor, token: 1)
        try boot.publish()
    }

    /// The offset of a run of these bytes in the arena.
    private func offset(of byte: UInt8) throws -> UInt64 {
        let bytes = try machine.file.bytes()
        let pattern = [UInt8](repeating: byte, count: 1000)
        let start = try #require(bytes.indices.first { bytes[$0...].starts(with: pattern) })
        return UInt64(start)
    }

    @Test(
        "Damage in the first or last byte that preserve or serialize stored", arguments: [7, 8],
        [0, 999])
    func damaged(_ byte: UInt8, _ position: UInt64) throws {
        try machine.file.write([0xFF], at: try offset(of: byte) + position)
        let next = try machine.boot(.nextBoot, TestHandler(), flb)
        let session = try next.retrieveSession("s")
        for _ in 0..<2 {
            let error = failure { try next.withIncoming(flb) { _ in } }
            #expect(error?.errno == .ioError)
            #expect(error?.reason.contains("records of FLB \"flb-v1\"") == true)
        }
        #expect(flb.count("retrieve") == 0)
        // Its file is still retrieved, and the last finish drops the FLB.
        _ = try session.retrieve(token: 1)
        try session.close()
        #expect(flb.count("finish") == 0)
        #expect(errno { try next.withIncoming(flb) { _ in } } == .noData)
    }

    @Test func undamaged() throws {
        let next = try machine.boot(.nextBoot, TestHandler(), flb)
        try next.withIncoming(flb) { _ in }
        try next.retrieveSession("s").close()
        #expect(flb.count("retrieve") == 1 && flb.count("finish") == 1)
    }
}

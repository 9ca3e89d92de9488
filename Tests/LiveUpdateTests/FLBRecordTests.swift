import LiveUpdate
import Platform
import SystemPackage
import TestSupport
import Testing

/// What an FLB stored has a checksum, as what files stored has: a damaged record is never given to its callbacks.
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

    /// Where a run of such bytes is in the arena.
    private func offset(of byte: UInt8) throws -> UInt64 {
        let bytes = try machine.file.bytes()
        let pattern = [UInt8](repeating: byte, count: 1000)
        let start = try #require(bytes.indices.first { bytes[$0...].starts(with: pattern) })
        return UInt64(start)
    }

    @Test(
        "Of what preserve stored, and of what serialize stored; the first byte, and the last", arguments: [7, 8],
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
        // Its file comes back all the same, and the last finish gives the FLB up.
        try session.retrieve(token: 1).close()
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

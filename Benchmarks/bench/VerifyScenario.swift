// SPDX-License-Identifier: Apache-2.0
import LiveUpdateBenchReport
import LiveUpdateCommandLine
import LiveUpdatePlatform
import SystemPackage

/// Measures the checksum of preserved memory, beside only reading it.
struct VerifyScenario {
    private let run: BenchRun

    init(_ run: BenchRun) { self.run = run }

    var steps: [BenchStep] {
        guard let bytes = run.sizes.filter({ $0 <= 1 << 30 }).last else { return [] }
        return [
            BenchStep(scenario: .verify, title: "CRC32C of \(ByteCount.text(bytes))", seconds: run.isQuick ? 0.8 : 4) {
                try measure(bytes)
            }
        ]
    }

    private func measure(_ bytes: UInt64) throws {
        let count = bytes / PageSize.huge2M.bytes
        let problem = try run.withHugePages(count, .huge2M) {
            try BenchMemory.withFiles(1, of: bytes, .huge2M) { try measure($0[0], bytes) }
        }
        guard let problem else { return }
        run.miss(
            .verify, "\(ByteCount.text(bytes)) of 2M pages", problem,
            remedy: BenchMemory.remedy(count))
    }

    private func measure(_ file: FileDescriptor, _ bytes: UInt64) throws {
        try run.processors.measureHere()
        let floor = try FloorProcess(.read, ["\(file.rawValue)"], inherited: [file], in: run.programs)
        let mapping = try Mapping(of: file, length: bytes, .shared(writable: false))
        var ours: [Double] = []
        var theirs: [Double] = []
        for round in 0...run.rounds(quick: 7, full: 25) {
            // SAFETY: the mapping lives until after the loop.
            let time = elapsed { _ = unsafe CRC32C.of(UnsafeRawBufferPointer(mapping.bytes)) }
            let reading = try floor.round()[0]
            // The first round does not count, because it maps the pages.
            if round == 0 { continue }
            ours.append(time)
            theirs.append(reading)
        }
        run.add(
            BenchMeasurement(
                scenario: "verify", name: "crc32c", parameters: ["bytes": bytes, "page": PageSize.huge2M.bytes],
                ours: BenchDistribution(ours), floor: BenchDistribution(theirs),
                floorName: "C: the sum of all words of the same memory", ratioLimit: 1.25,
                note: "at most 1.25 times the time of reading is at least 0.8 of its speed"))
    }
}

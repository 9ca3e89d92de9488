// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform
import SystemPackage

/// Copies the memory into memory of the next process: the least that saving it elsewhere takes.
struct MemcpyComparison {
    private let run: BenchRun

    init(_ run: BenchRun) { self.run = run }

    func measure(_ bytes: UInt64) throws {
        let count = 2 * bytes / PageSize.huge2M.bytes
        let problem = try run.withHugePages(count, .huge2M) {
            try BenchMemory.withFiles(1, of: bytes, .huge2M) { try measure($0, bytes) }
        }
        guard let problem else { return }
        run.miss(
            .compare, "memcpy", problem, remedy: BenchMemory.remedy(count))
    }

    private func measure(_ files: [FileDescriptor], _ bytes: UInt64) throws {
        let updates = try UpdateRounds(run, files, .huge2M)
        let source = try Mapping(of: files[0], length: bytes, .shared(writable: false))
        var fresh: [Double] = []
        var touched: [Double] = []
        for _ in 0..<run.rounds(quick: 4, full: 15) {
            try updates.measure(rounds: 1)
            try run.processors.measureHere()
            let target = try makeMemoryFile(named: "luoctl-bench", size: bytes, pageSize: .huge2M)
            let mapping = try Mapping(of: target.borrowed, length: bytes, .shared(writable: true, reserving: true))
            fresh.append(elapsed { copy(source, mapping) })
            touched.append(elapsed { copy(source, mapping) })
        }
        let parameters = ["bytes": bytes, "page": PageSize.huge2M.bytes]
        run.addOurs(
            updates.ours, parameters, floor: updates.exec,
            "C: execve with the same descriptors, and a word of each read")
        run.addOther(
            "memcpy, fresh", parameters, fresh,
            note: "into huge pages that were not touched yet: the kernel clears them first; copies and nothing else")
        run.addOther(
            "memcpy, touched", parameters, touched, note: "into the same huge pages once more: copies and nothing else")
    }

    private func copy(_ source: borrowing Mapping, _ target: borrowing Mapping) {
        // SAFETY: both mappings have the same length and do not overlap.
        unsafe target.bytes.copyMemory(from: UnsafeRawBufferPointer(source.bytes))
    }
}

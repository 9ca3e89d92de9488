// SPDX-License-Identifier: Apache-2.0
import LiveUpdateBenchReport
import LiveUpdatePlatform
import SystemPackage

/// Measures all phases of some files, with this library and the floor in turn.
struct PhaseMeasurement {
    let run: BenchRun
    let scenario: BenchScenario
    let parameters: [String: UInt64]
    let files: [FileDescriptor]
    /// The number of huge pages that exist in the files; nil for base pages.
    var hugePages: UInt64?
    let rounds: Int
    /// The upper limit of preserving's ratio to the floor.
    var preserveLimit: Double?

    func measure() throws {
        try run.processors.measureHere()
        let floor = try FloorProcess(
            .preserve, files.map { "\($0.rawValue)" }, inherited: files, in: run.programs)
        let chain = try BootChain()
        // The first rounds let the arena grow to its final size.
        for _ in 0..<2 {
            try chain.round(files, BenchMeter())
            _ = try floor.round()
        }
        var ours: [BenchPhase: [Double]] = [:]
        var theirs: [BenchPhase: [Double]] = [:]
        var arenaBytes = 0.0
        for _ in 0..<rounds {
            let meter = BenchMeter()
            try chain.round(files, meter)
            for (phase, time) in meter.times { ours[phase, default: []].append(time) }
            for (phase, time) in zip(BenchPhase.allCases, try floor.round()) { theirs[phase, default: []].append(time) }
            arenaBytes = meter.arenaBytes
        }
        let counting = BenchMeter(counting: true)
        try chain.round(files, counting)
        let besides = BenchMeter(counting: true)
        try countWithoutContent(chain, besides)
        let mapReading = try readByPageMap()
        for phase in BenchPhase.allCases {
            guard let samples = ours[phase] else { continue }
            var counted = counts(counting.counts[phase], besides.counts[phase], phase, mapReading)
            if phase == .preserve { countMemory(arenaBytes, BenchDistribution(samples).median, &counted) }
            run.add(
                BenchMeasurement(
                    scenario: scenario.rawValue, name: phase.rawValue, parameters: parameters,
                    ours: BenchDistribution(samples), floor: theirs[phase].map(BenchDistribution.init),
                    floorName: Self.floorNames[phase], counted: counted,
                    ratioLimit: phase == .preserve ? preserveLimit : nil))
        }
    }

    private static let floorNames: [BenchPhase: String] = [
        .preserve: "C: a copy of each descriptor, its status, and where it has pages, with their frames",
        .freeze: "C: fstat and lseek of each file", .publish: "C: a record of each file into shared memory",
        .boot: "C: mapping the arena and reading the records", .retrieve: "C: fstat and a copy of each descriptor",
        .finish: "C: close of each descriptor", .unpreserve: "C: close of each descriptor",
    ]

    /// The bytes that reading page frames takes. They come from /proc/self/pagemap, so they are not content.
    private func readByPageMap() throws -> Double {
        guard hugePages != nil else { return 0 }
        return try BenchCounts.of {
            for file in files {
                guard case .hugetlbfs(let bytes) = try FileSystemKind(of: file), let page = PageSize(bytes: bytes)
                else {
                    continue
                }
                _ = try HugePageMap.pages(of: file, size: FileStatus(of: file).size, pageSize: page)
            }
        }.bytesRead
    }

    /// Counts the work of the same phases with as many empty files. Bytes that this reads, such as the settings of the
    /// pools, are not content.
    private func countWithoutContent(_ chain: BootChain, _ meter: BenchMeter) throws {
        let page = PageSize(bytes: parameters["page"] ?? 0) ?? .base
        try BenchMemory.withFiles(UInt64(files.count), of: 0, page) { try chain.round($0, meter) }
    }

    private func counts(
        _ counts: BenchCounts?, _ besides: BenchCounts?, _ phase: BenchPhase, _ mapReading: Double
    ) -> [String: Double] {
        guard let counts, let besides else { return [:] }
        let map = phase == .preserve ? mapReading : 0
        var counted = [
            "content bytes read": max(counts.bytesRead - besides.bytesRead - map, 0),
            "content bytes written": max(counts.bytesWritten - besides.bytesWritten, 0),
            "page faults": counts.pageFaults,
        ]
        if let calls = counts.systemCalls { counted["system calls of the thread"] = calls }
        return counted
    }

    private func countMemory(_ arenaBytes: Double, _ time: Double, _ counted: inout [String: Double]) {
        counted["arena bytes"] = arenaBytes
        guard let hugePages, hugePages > 0 else { return }
        counted["arena bytes per huge page"] = arenaBytes / Double(hugePages)
        counted["nanoseconds per huge page"] = time / Double(hugePages)
    }
}

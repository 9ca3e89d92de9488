// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform

/// Measures base pages in all phases: dense by size, sparse (one page in ten), and one page in two.
struct MemfdScenario {
    private let run: BenchRun

    init(_ run: BenchRun) { self.run = run }

    var steps: [BenchStep] {
        // Larger sizes show nothing new, and take long to fill and to map.
        let sizes = run.sizes.filter { $0 <= 1 << 30 }
        guard let first = sizes.first else { return [] }
        let pieces = run.isQuick ? first : min(sizes.last ?? first, 256 << 20)
        return sizes.map { step($0, holes: 0) } + [step(pieces, holes: 90), step(pieces, holes: 50)]
    }

    private func step(_ bytes: UInt64, holes: UInt64) -> BenchStep {
        let seconds = (holes == 0 ? 0.3 : 1.5) + Double(bytes >> 20) / 700
        return BenchStep(scenario: .memfd, title: "\(ByteCount.text(bytes)), \(holes) % holes", seconds: seconds) {
            try BenchMemory.withFiles(1, of: bytes, .base, holes: holes) { files in
                try PhaseMeasurement(
                    run: run, scenario: .memfd,
                    parameters: ["bytes": bytes, "page": PageSize.base.bytes, "files": 1, "holes": holes],
                    files: files, rounds: run.rounds(quick: holes == 0 ? 12 : 5, full: holes == 0 ? 60 : 20)
                ).measure()
            }
        }
    }
}

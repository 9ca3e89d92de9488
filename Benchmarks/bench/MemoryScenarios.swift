// SPDX-License-Identifier: Apache-2.0
import LiveUpdateBenchReport
import LiveUpdateCommandLine
import LiveUpdatePlatform

/// Measures huge pages in all phases: by size, by number of files, by share of holes, and by page size.
struct HugetlbScenario {
    private let run: BenchRun

    init(_ run: BenchRun) { self.run = run }

    private struct Case {
        var bytes: UInt64
        var page: PageSize
        var files: UInt64 = 1
        var holes: UInt64 = 0

        /// The upper limit of the ratio to the floor, only for few files. Another scenario measures the cost of each
        /// file.
        var limit: Double? { bytes >= 1 << 30 && page == .huge2M && files <= 4 ? 1.5 : nil }
    }

    var steps: [BenchStep] { cases.map(step) }

    private var cases: [Case] {
        let sizes = run.sizes
        guard let most = sizes.last else { return [] }
        var cases = sizes.map { Case(bytes: $0, page: .huge2M) }
        let middle = min(most, 1 << 30)
        cases += numbers(of: middle).map { Case(bytes: middle, page: .huge2M, files: $0) }
        cases += (run.isQuick ? [50] : [50, 90]).map { Case(bytes: middle, page: .huge2M, holes: $0) }
        return cases + gigantic(.huge1G).map { Case(bytes: $0, page: .huge1G) }
    }

    /// The numbers of files for which each file has at least one page.
    private func numbers(of bytes: UInt64) -> [UInt64] {
        (run.isQuick ? [16] : [4, 64, 512]).filter { count in
            if bytes / count >= PageSize.huge2M.bytes { return true }
            run.miss(
                .hugetlb, "\(count) files", "\(ByteCount.text(bytes)) are less than a page for each",
                remedy: "give --max-memory 1G or more")
            return false
        }
    }

    private func gigantic(_ page: PageSize) -> [UInt64] {
        let sizes = [1, 2, 4, 16, 64].map { $0 * page.bytes }.filter { $0 <= run.memory }
        if sizes.isEmpty {
            run.miss(
                .hugetlb, "1 GiB pages", "the files may take \(ByteCount.text(run.memory))",
                remedy: "leave out --quick, and give --max-memory 1G or more")
        }
        return sizes
    }

    private func step(_ item: Case) -> BenchStep {
        let title = "\(ByteCount.text(item.bytes)) of \(item.page) pages in \(item.files) files, \(item.holes) % holes"
        let seconds = 0.5 + Double(item.bytes >> 20) / (run.isQuick ? 2000 : 700)
        return BenchStep(scenario: .hugetlb, title: title, seconds: seconds) { try measure(item) }
    }

    private func measure(_ item: Case) throws {
        let pages = item.bytes / item.page.bytes
        let present = item.holes == 0 ? pages : (pages * (100 - item.holes) + 99) / 100 + item.files
        let problem = try run.withHugePages(present, item.page) {
            try BenchMemory.withFiles(item.files, of: item.bytes / item.files, item.page, holes: item.holes) { files in
                try PhaseMeasurement(
                    run: run, scenario: .hugetlb,
                    parameters: [
                        "bytes": item.bytes, "page": item.page.bytes, "files": item.files, "holes": item.holes,
                    ],
                    files: files, hugePages: pages * (100 - item.holes) / 100, rounds: run.rounds(quick: 12, full: 60),
                    preserveLimit: item.limit
                ).measure()
            }
        }
        if let problem { miss(item, problem) }
    }

    private func miss(_ item: Case, _ problem: String) {
        let (bytes, count) = (ByteCount.text(item.bytes), item.bytes / item.page.bytes)
        let name = item.page == .huge1G ? "1 GiB pages" : "\(bytes) of \(item.page) pages"
        run.miss(
            .hugetlb, name, problem,
            remedy: item.page == .huge1G
                ? "put hugepagesz=1G hugepages=\(count) on the kernel's command line"
                : BenchMemory.remedy(count, item.page))
    }
}

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

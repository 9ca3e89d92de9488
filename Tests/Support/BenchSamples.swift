// SPDX-License-Identifier: Apache-2.0
package import LiveUpdateBenchReport

/// Sample results of a benchmark, as a machine with two processors would give them.
package enum BenchSamples {
    /// A document with each kind of measurement, and many of some kinds.
    package static func full() -> BenchDocument {
        var document = empty()
        document.warnings = ["the load was 1.40 when it began: differences below 20 % mean nothing"]
        document.measurements =
            phases("hugetlb", page: 2 << 20, perGiB: 760_000) + phases("hugetlb", page: 1 << 30, perGiB: 40_000)
            + holes() + phases("memfd", page: 4096, perGiB: 9_800_000) + counts("files") + counts("sessions")
            + updates() + verify() + comparison()
        document.absent = [
            BenchAbsence(
                scenario: "compare", name: "criu", reason: "CRIU is not installed", remedy: "apt-get install criu"),
            BenchAbsence(
                scenario: "hugetlb", name: "16 GiB", reason: "the pool has 2,048 pages of 2 MiB",
                remedy: "luoctl hugepages reserve --page 2M --count 8192"),
        ]
        document.projections = projections()
        document.targets = BenchTarget.all(of: document.measurements)
        return document
    }

    /// A document of a run without measurements.
    package static func empty() -> BenchDocument {
        BenchDocument(
            command: ["luoctl", "bench", "--html", "my report.html"], started: "2026-03-01T09:30:00Z", seconds: 214,
            machine: machine())
    }

    /// A single measurement.
    package static func measurement(
        _ scenario: String, _ name: String, _ parameters: [String: UInt64], _ time: Double, floor: Double? = nil,
        spread: Double = 0.05
    ) -> BenchMeasurement {
        BenchMeasurement(
            scenario: scenario, name: name, parameters: parameters, ours: around(time, spread),
            floor: floor.map { around($0, spread) }, floorName: floor.map { _ in "the same system calls in C" })
    }

    /// A measurement for tests in which only the time matters.
    package static func measurement(_ time: Double, floor: Double? = nil, spread: Double = 0.05) -> BenchMeasurement {
        measurement("hugetlb", "preserve", ["bytes": 1 << 30], time, floor: floor, spread: spread)
    }

    /// Rounds around a median, with a tail above it. The distance between the quartiles, as a share of the median, is
    /// `spread`.
    package static func around(_ median: Double, _ spread: Double = 0.05) -> BenchDistribution {
        let rounds = (-50...50).map { step -> Double in
            let distance = Double(step) / 50
            return median * (1 + spread * (step > 45 ? distance * 3 : distance))
        }
        return BenchDistribution(rounds)
    }

    /// The machine of the samples.
    package static func machine() -> BenchMachine {
        BenchMachine(
            kernel: "6.18.0", processor: "AMD EPYC 9554 64-Core Processor", processors: 2, nodes: 1, memory: 24 << 30,
            governor: nil, hypervisor: "KVM", load: [1.4, 0.9, 0.5],
            pools: [
                .init(page: 2 << 20, total: 2048, free: 2048), .init(page: 1 << 30, total: 4, free: 4),
            ])
    }

    private static func phases(_ scenario: String, page: UInt64, perGiB: Double) -> [BenchMeasurement] {
        // The fixed time of each phase, and its share of the time that grows with the size.
        let phases: [(String, Double, Double)] = [
            ("preserve", 22_000, 1), ("freeze", 4_000, 0), ("publish", 31_000, 0.01), ("boot", 260_000, 0.02),
            ("retrieve", 6_000, 0.001), ("finish", 9_000, 0.004), ("unpreserve", 12_000, 0.01),
        ]
        let sizes: [UInt64] = [64 << 20, 256 << 20, 1 << 30, 4 << 30].filter { $0 >= page }
        return phases.flatMap { name, fixed, share in
            sizes.map { size in
                let time = fixed + share * perGiB * Double(size) / Double(1 << 30)
                var one = measurement(
                    scenario, name, ["bytes": size, "page": page, "files": 4, "holes": 0], time * 1.11, floor: time)
                one.counted = ["system calls": 42, "arena bytes": Double(size / page) * 16 + 512]
                if name == "preserve", scenario == "hugetlb" { one.ratioLimit = 1.5 }
                return one
            }
        }
    }

    private static func holes() -> [BenchMeasurement] {
        [0, 25, 50, 75].map { share in
            measurement(
                "hugetlb", "preserve", ["bytes": 512 << 20, "page": 2 << 20, "files": 4, "holes": share],
                400_000 - 2_500 * Double(share), floor: 350_000 - 2_200 * Double(share))
        }
    }

    private static func counts(_ what: String) -> [BenchMeasurement] {
        [(10, 15_200), (100, 14_500), (1_000, 14_900), (10_000, 15_700)].map { count, time in
            measurement(what, "one more", [what: UInt64(count)], time, floor: 11_000)
        }
    }

    private static func updates() -> [BenchMeasurement] {
        let cases: [(UInt64, UInt64, Double, Double)] = [
            (1, 256 << 20, 1_277_000, 0.1), (1, 4 << 30, 1_301_000, 0.1), (253, 256 << 20, 6_539_000, 0.08),
            (1_000, 256 << 20, 19_800_000, 0.06),
        ]
        return cases.flatMap { files, bytes, time, spread -> [BenchMeasurement] in
            let parameters = ["files": files, "bytes": bytes]
            let shares: [(String, Double)] = [
                ("freeze", 0.12), ("publish", 0.17), ("execve", 0.33), ("boot", 0.3), ("answer", 0.02),
            ]
            var blackout = measurement("update", "blackout", parameters, time, floor: time / 1.45, spread: spread)
            blackout.floorName = "execve of a static C program that inherits the descriptors"
            blackout.ratioLimit = 1.5
            return [blackout]
                + shares.map { measurement("update", "\($0.0)", parameters, time * $0.1, spread: spread) }
        }
    }

    private static func verify() -> [BenchMeasurement] {
        [measurement("verify", "crc32c", ["bytes": 1 << 30, "page": 2 << 20], 29_617_000, floor: 31_623_000)]
    }

    private static func comparison() -> [BenchMeasurement] {
        let tools: [(String, [String: UInt64], Double, String?)] = [
            ("liveupdate", ["bytes": 1 << 30], 1_300_000, nil),
            ("memcpy, fresh", ["bytes": 1 << 30], 57_000_000, "copies the memory, and needs as much again meanwhile"),
            ("liveupdate", ["descriptors": 1_000], 19_800_000, nil),
            ("systemd store", ["descriptors": 1_000], 530_000_000, "also supervises the service"),
            ("liveupdate", ["bytes": 256 << 20], 1_280_000, nil),
            ("systemd store", ["bytes": 256 << 20], 14_000_000, "also supervises the service"),
            (
                "criu", ["bytes": 256 << 20], 235_000_000,
                "saves the whole process, and can restore it on another machine"
            ),
        ]
        return tools.map { name, parameters, time, note in
            var one = measurement("compare", name, parameters, time, spread: 0.12)
            one.note = note
            return one
        }
    }

    private static func projections() -> [BenchProjection] {
        let pages: [(UInt64, Double)] = [(4096, 9_800_000), (2 << 20, 760_000), (1 << 30, 40_000)]
        let sizes: [UInt64] = [1 << 40, 10 << 40]
        return pages.flatMap { page, perGiB in
            sizes.flatMap { bytes -> [BenchProjection] in
                let preserve = perGiB * Double(bytes >> 30)
                return [
                    projection("preserve", bytes, page, 1_300_000 + preserve),
                    projection("blackout", bytes, page, 1_300_000 + preserve / 1000),
                ]
            }
        }
    }

    private static func projection(_ name: String, _ bytes: UInt64, _ page: UInt64, _ time: Double) -> BenchProjection {
        BenchProjection(
            name: name, bytes: bytes, page: page, time: time, arena: Double(bytes / page * 16),
            measuredFrom: 64 << 20, measuredTo: 4 << 30)
    }
}

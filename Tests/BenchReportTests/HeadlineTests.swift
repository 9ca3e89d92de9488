// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

@testable import LiveUpdateBenchReport

@Suite("The three figures on top")
struct HeadlineTests {
    private static func headline(_ measurements: [BenchMeasurement], absent: [BenchAbsence] = []) -> Headline {
        var document = BenchSamples.empty()
        document.measurements = measurements
        document.absent = absent
        return Headline(document)
    }

    private static func update(
        _ name: String, files: UInt64, bytes: UInt64? = nil, _ time: Double, floor: Double? = nil
    ) -> BenchMeasurement {
        let parameters = ["files": files, "bytes": bytes ?? files * 4096, "page": bytes == nil ? 4096 : 2 << 20]
        return BenchSamples.measurement("update", name, parameters, time, floor: floor)
    }

    private static func compare(_ name: String, _ parameters: [String: UInt64], _ time: Double) -> BenchMeasurement {
        BenchSamples.measurement("compare", name, parameters, time)
    }

    /// All kinds of updates, the one that is shown first in the last place.
    private static let updates = [
        update("blackout", files: 1, 3e6), update("blackout", files: 1000, 30e6, floor: 14e6),
        update("hand-over: blackout", files: 1000, 2.24e6, floor: 12.3e6),
        update("luod: blackout", files: 1000, 2.9e6, floor: 13e6),
        update("luod, loaded: blackout", files: 1000, 2.66e6, floor: 13e6),
    ]

    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let measurements: [BenchMeasurement]
        let line: Headline.Line
    }

    private static func words(_ figure: String?, _ meaning: String, _ comparison: String) -> Headline.Line {
        Headline.Line(figure: figure, meaning: meaning, comparison: comparison)
    }

    @Test(
        "The blackout is that of the largest number of files, of luod before others",
        arguments: [
            Case(
                testDescription: "luod with a loaded image", measurements: updates,
                line: words(
                    "2.66 ms", "blackout of an update of luod with 1,000 files",
                    "for this long, no client is served; a C program that hands them to a keeper, ends and is started "
                        + "again takes 13.0 ms")),
            Case(
                testDescription: "luod", measurements: Array(updates.dropLast()),
                line: words(
                    "2.90 ms", "blackout of an update of luod with 1,000 files",
                    "for this long, no client is served; a C program that hands them to a keeper, ends and is started "
                        + "again takes 13.0 ms")),
            Case(
                testDescription: "a hand-over", measurements: Array(updates.dropLast(2)),
                line: words(
                    "2.24 ms", "blackout of a hand-over with 1,000 files",
                    "for this long, no client is served; a C program that keeps them over execve takes 12.3 ms")),
            Case(
                testDescription: "execve, without a floor", measurements: Array(updates.prefix(1)),
                line: words(
                    "3.00 ms", "blackout of an update by execve with 1 file", "for this long, no client is served")),
            Case(
                testDescription: "with as many files, less memory",
                measurements: [update("blackout", files: 4, bytes: 4 << 30, 9e6), update("blackout", files: 4, 8e6)],
                line: words(
                    "8.00 ms", "blackout of an update by execve with 4 files", "for this long, no client is served")),
            Case(
                testDescription: "impossible times", measurements: [update("blackout", files: 4, -1)],
                line: words(nil, "blackout: not measured", "luoctl bench update measures it")),
            Case(
                testDescription: "nothing", measurements: [],
                line: words(nil, "blackout: not measured", "luoctl bench update measures it")),
        ])
    func blackout(_ one: Case) { #expect(Self.headline(one.measurements).blackout == one.line) }

    private static let noGrowth = words(
        nil, "growth of the blackout with the memory: not measured",
        "luoctl bench update measures it with --max-memory 256M or more, and with huge pages")

    @Test(
        "The growth is between the smallest and the largest memory of the same update",
        arguments: [
            Case(
                testDescription: "visible",
                measurements: [(256, 250_000.0), (1024, 900_000), (4096, 450_000)].map {
                    update("luod, loaded: blackout", files: 4, bytes: $0 << 20, $1)
                },
                line: words(
                    "+200 µs", "blackout of an update of luod with 4 GiB instead of 256 MiB",
                    "250 µs with 256 MiB, 450 µs with 4 GiB")),
            Case(
                testDescription: "less, within the noise",
                measurements: [(256, 200_000.0), (4096, 199_000)].map {
                    update("hand-over: blackout", files: 4, bytes: $0 << 20, $1)
                },
                line: words(
                    "−1.00 µs", "blackout of a hand-over with 4 GiB instead of 256 MiB",
                    "200 µs with 256 MiB, 199 µs with 4 GiB; the difference is within the noise")),
            Case(
                testDescription: "luod at one size only",
                measurements: [
                    update("luod, loaded: blackout", files: 4, bytes: 256 << 20, 1e6),
                    update("blackout", files: 4, bytes: 64 << 20, 1e6),
                    update("blackout", files: 4, bytes: 256 << 20, 2e6),
                ],
                line: words(
                    "+1.00 ms", "blackout of an update by execve with 256 MiB instead of 64 MiB",
                    "1.00 ms with 64 MiB, 2.00 ms with 256 MiB")),
            Case(testDescription: "other numbers of files", measurements: updates, line: noGrowth),
            Case(testDescription: "nothing", measurements: [], line: noGrowth),
        ])
    func growth(_ one: Case) { #expect(Self.headline(one.measurements).growth == one.line) }

    @Test("Each tool is compared with ours for the same memory, faster or slower")
    func speedups() {
        let huge: [String: UInt64] = ["bytes": 256 << 20, "page": 2 << 20]
        let base: [String: UInt64] = ["bytes": 256 << 20, "page": 4096]
        let headline = Self.headline([
            Self.compare("liveupdate", huge, 4e6), Self.compare("memcpy, fresh", huge, 222e6),
            Self.compare("memcpy, touched", huge, 1e6),
            Self.compare("liveupdate", ["descriptors": 1000], 64e6),
            Self.compare("systemd store", ["descriptors": 1000], 40e6),
            Self.compare("liveupdate", huge, 2e6), Self.compare("criu", huge, 300e6),
            Self.compare("liveupdate", base, 2e6), Self.compare("criu", base, 900e6),
        ])
        #expect(
            headline.speedups == [
                Self.words(
                    "55.5 times", "faster than copying with memcpy",
                    "4.00 ms instead of 222 ms, for 256 MiB in pages of 2 MiB"),
                Self.words(
                    "1.6 times", "slower than systemd's descriptor store",
                    "64.0 ms instead of 40.0 ms, for 1,000 descriptors"),
                Self.words(
                    "150 times", "faster than CRIU", "2.00 ms instead of 300 ms, for 256 MiB in pages of 2 MiB"),
            ])
    }

    @Test(
        "The figure has as many digits as a reader needs",
        arguments: [
            (100.0, "1.0 times", "as fast as CRIU"), (104, "1.0 times", "as fast as CRIU"),
            (96, "1.0 times", "as fast as CRIU"), (106, "1.1 times", "faster than CRIU"),
            (50, "2.0 times", "slower than CRIU"), (994, "9.9 times", "faster than CRIU"),
            (1_001, "10 times", "faster than CRIU"),
            (123_456, "1,235 times", "faster than CRIU"),
        ])
    func digits(_ time: Double, _ figure: String, _ meaning: String) {
        let headline = Self.headline([Self.compare("liveupdate", [:], 100), Self.compare("criu", [:], time)])
        #expect(headline.speedups.last?.figure == figure)
        #expect(headline.speedups.last?.meaning == meaning)
    }

    @Test("A tool that was not compared is named, with the reason or the command")
    func absentTools() {
        let absent = [
            BenchAbsence(scenario: "compare", name: "criu, 2M pages", reason: "it is not installed", remedy: "x"),
            BenchAbsence(scenario: "update", name: "systemd store", reason: "of another scenario", remedy: "x"),
        ]
        let command = "luoctl bench compare compares with it"
        let headline = Self.headline([Self.compare("memcpy, fresh", ["bytes": 1], 1)], absent: absent)
        #expect(
            headline.speedups == [
                Self.words(nil, "copying with memcpy: not compared", command),
                Self.words(nil, "systemd's descriptor store: not compared", command),
                Self.words(nil, "CRIU: not compared", "it is not installed"),
            ])
    }

    @Test("The text for a terminal has a line for each figure")
    func text() {
        let huge: [String: UInt64] = ["bytes": 1 << 30]
        let headline = Self.headline([
            Self.update("blackout", files: 1, 3e6), Self.compare("liveupdate", huge, 4e6),
            Self.compare("memcpy, fresh", huge, 2e9),
        ])
        #expect(
            headline.text == """
                  3.00 ms  blackout of an update by execve with 1 file; for this long, no client is served
                        –  growth of the blackout with the memory: not measured; luoctl bench update measures it with \
                --max-memory 256M or more, and with huge pages
                500 times  faster than copying with memcpy; 4.00 ms instead of 2.00 s, for 1 GiB
                        –  systemd's descriptor store: not compared; luoctl bench compare compares with it
                        –  CRIU: not compared; luoctl bench compare compares with it
                """)
    }

    @Test(
        "The blackout is measured at two sizes, if there are two",
        arguments: [
            ([], []), ([64], [64]), ([64, 256], [64, 256]), ([64, 256, 1024], [256, 1024]),
            ([64, 256, 1024, 4096], [256, 4096]), ([64, 1024], [64, 1024]),
        ] as [([UInt64], [UInt64])])
    func sizes(_ sizes: [UInt64], _ chosen: [UInt64]) {
        #expect(BlackoutSizes.chosen(from: sizes.map { $0 << 20 }) == chosen.map { $0 << 20 })
    }
}

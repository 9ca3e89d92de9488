// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import LiveUpdateBenchReport

@Suite("Figures as people read them")
struct QuantityTests {
    @Test(
        arguments: [
            (0, "0 ns"), (0.4, "0.4 ns"), (12, "12 ns"), (999.4, "999 ns"), (999.7, "1.00 µs"), (1_500, "1.50 µs"),
            (14_520, "14.5 µs"), (777_500, "778 µs"), (999_960, "1.00 ms"), (29_617_100, "29.6 ms"), (1e9, "1.00 s"),
            (2.5e12, "2,500 s"), (-1_500, "−1.50 µs"), (.nan, "?"), (.infinity, "?"),
        ] as [(Double, String)]) func times(_ value: Double, _ text: String)
    { #expect(Quantity.time.text(value) == text) }

    @Test(
        arguments: [
            (0.0, "0 B"), (16.5, "16.5 B"), (512, "512 B"), (1024, "1 KiB"), (2 * 1_048_576, "2 MiB"),
            (1_073_741_824, "1 GiB"), (1.5 * 1_073_741_824, "1.5 GiB"), (1_099_511_627_776, "1 TiB"),
            (10 * 1_099_511_627_776, "10 TiB"), (1_048_575, "1 MiB"), (1_000 * 1024, "1,000 KiB"),
        ] as [(Double, String)]) func bytes(_ value: Double, _ text: String)
    { #expect(Quantity.bytes.text(value) == text) }

    @Test(
        arguments: [
            (0.0, "0"), (0.25, "0.25"), (42, "42"), (999.9, "1,000"), (10_000, "10,000"), (1_234_567, "1,234,567"),
        ] as [(Double, String)]) func counts(_ value: Double, _ text: String)
    { #expect(Quantity.count.text(value) == text) }

    @Test func valuesOfNoClockAreWritten() {
        #expect(Quantity.time.text(1e300).contains("e+291"))
        #expect(Quantity.bytes.text(1e300).contains("e+"))
        #expect(Quantity.count.text(-1e300) == "-1e+300")
    }

    @Test func ticksHaveNoZerosThatSayNothing() {
        #expect(Quantity.time.tick(1_000) == "1 µs")
        #expect(Quantity.time.tick(500_000) == "500 µs")
        #expect(Quantity.percent.tick(20) == "20 %")
    }

    @Test func rangesNameTheirUnitOnce() {
        #expect(Quantity.time.range(757_000, 817_000) == "757–817 µs")
        #expect(Quantity.time.range(990_000, 1_070_000) == "990 µs – 1.07 ms")
    }

    @Test func ratiosAndChanges() {
        #expect(Quantity.ratio(1.114) == "1.11×")
        #expect(Quantity.ratio(43.84) == "43.8×")
        #expect(Quantity.ratio(1_234) == "1,234×")
        #expect(Quantity.change(1.25) == "+25.0 %")
        #expect(Quantity.change(0.9) == "−10.0 %")
    }

    @Test func parametersInTheSameOrder() {
        #expect(
            Parameters.text(["holes": 0, "files": 1, "page": 2 << 20, "bytes": 1 << 30, "zeal": 7])
                == "1 GiB, 2 MiB pages, 1 file, no holes, zeal 7")
        #expect(Parameters.text([:]).isEmpty)
    }
}

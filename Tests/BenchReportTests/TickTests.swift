// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import LiveUpdateBenchReport

@Suite("Scales and their marks")
struct TickTests {
    private func scale(_ values: [Double], _ spacing: Scale.Spacing, _ quantity: Quantity = .count) -> Scale {
        Scale(values, spacing, quantity, from: 0, to: 300)
    }

    private func labels(_ scale: Scale, room: Double = 40) -> [String] {
        scale.ticks { _ in room }.map { scale.quantity.tick($0) }
    }

    @Test func powersOfTenWhereThereIsLittleRoom() {
        #expect(labels(scale([1, 10_000], .logarithmic)) == ["1", "10", "100", "1,000", "10,000"])
        #expect(
            labels(scale([1, 1e12], .logarithmic), room: 60) == [
                "1", "1,000", "1,000,000", "1,000,000,000", "1,000,000,000,000",
            ])
    }

    @Test func oneTwoFiveWhereThereIsMore() {
        #expect(labels(scale([1, 100], .logarithmic)) == ["1", "2", "5", "10", "20", "50", "100"])
    }

    @Test func evenStepsWithinATenfold() {
        #expect(labels(scale([11, 15.7], .logarithmic)) == ["10", "12", "14", "16", "18", "20"])
        #expect(labels(scale([2.2, 4.4], .logarithmic)) == ["2", "3", "4", "5"])
    }

    @Test func powersOfTwo() {
        #expect(
            labels(scale([64 * 1_048_576, 4_294_967_296], .doubling, .bytes))
                == ["64 MiB", "128 MiB", "256 MiB", "512 MiB", "1 GiB", "2 GiB", "4 GiB"])
        #expect(
            labels(scale([64 * 1_048_576, 4_294_967_296], .doubling, .bytes), room: 60)
                == ["64 MiB", "256 MiB", "1 GiB", "4 GiB"])
    }

    @Test func linearFromZero() {
        #expect(labels(scale([75], .linear, .percent)) == ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"])
        #expect(labels(scale([0], .linear)).first == "0")
    }

    @Test func aSingleValueIsInTheMiddle() {
        for spacing in [Scale.Spacing.logarithmic, .doubling] {
            let scale = scale([8, 8], spacing)
            #expect(scale.lower < 8 && scale.upper > 8)
            #expect((50...250).contains(scale.position(8)))
        }
    }

    @Test(arguments: [1e-6, 0.003, 0.7, 1, 9.999, 123, 5e8, 9.9e23])
    func boundsHoldTheirValues(_ value: Double) {
        for spacing in [Scale.Spacing.logarithmic, .doubling, .linear] {
            for factor in [1.0, 1.3, 7, 1e4] {
                let scale = scale([value, value * factor], spacing)
                #expect(scale.lower <= value * 1.000_01 && scale.upper >= value * factor * 0.999_99)
                let ticks = scale.ticks { _ in 40 }
                #expect(!ticks.isEmpty && ticks == ticks.sorted())
                #expect(ticks.allSatisfy { $0 >= scale.lower * 0.999_99 && $0 <= scale.upper * 1.000_01 })
            }
        }
    }

    @Test func whatHasNoPlaceIsNotShown() {
        #expect(!Scale.canShow(0, .logarithmic))
        #expect(!Scale.canShow(-1, .logarithmic))
        #expect(!Scale.canShow(-1, .linear))
        #expect(!Scale.canShow(.nan, .linear))
        #expect(!Scale.canShow(.infinity, .logarithmic))
        #expect(Scale.canShow(0, .linear))
    }

    @Test func labelsMakeRoomForEachOther() {
        #expect(LabelSpreading.places([50, 50], spacing: 14, in: 0...100) == [36, 50])
        #expect(LabelSpreading.places([98, 99, 100], spacing: 14, in: 0...100) == [72, 86, 100])
        #expect(LabelSpreading.places([0, 90], spacing: 14, in: 0...100) == [0, 90])
        #expect(LabelSpreading.places([0, 0, 0], spacing: 14, in: 0...10) == [0, 14, 28])
        #expect(LabelSpreading.places([], spacing: 14, in: 0...10).isEmpty)
    }
}

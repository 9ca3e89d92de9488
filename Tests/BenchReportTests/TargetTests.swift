// SPDX-License-Identifier: Apache-2.0
import LiveUpdateBenchReport
import Testing

@Suite struct TargetTests {
    private func measurement(
        _ scenario: String, _ name: String, _ parameters: [String: UInt64], _ time: Double, floor: Double? = nil,
        limit: Double? = nil
    ) -> BenchMeasurement {
        BenchMeasurement(
            scenario: scenario, name: name, parameters: parameters, ours: BenchDistribution([time]),
            floor: floor.map { BenchDistribution([$0]) }, ratioLimit: limit)
    }

    @Test func aRatioAgainstItsLimit() {
        let targets = BenchTarget.all(of: [
            measurement("update", "cycle", ["files": 1], 3, floor: 2, limit: 1.5),
            measurement("update", "cycle", ["files": 253], 4, floor: 2, limit: 1.5),
            measurement("update", "blackout", ["files": 1], 4, floor: 2),
        ])
        #expect(targets.map(\.value) == [1.5, 2])
        #expect(targets.map(\.isMet) == [true, false])
    }

    @Test func whatIsToStayTheSame() {
        let targets = BenchTarget.all(of: [
            measurement("files", "one more", ["files": 100], 10),
            measurement("files", "one more", ["files": 10_000], 13),
            measurement("update", "blackout", ["bytes": 256 << 20, "page": 2 << 20], 100),
            measurement("update", "blackout", ["bytes": 4 << 30, "page": 2 << 20], 105),
        ])
        #expect(targets.map(\.value) == [1.05, 1.3])
        #expect(targets.map(\.isMet) == [true, false])
    }

    @Test func ofTheDaemon() {
        var keeping = measurement("update", "luod: preserve", ["files": 1000], 14, floor: 2, limit: 6)
        keeping.counted["resident bytes"] = Double(12 << 20)
        let targets = BenchTarget.all(of: [
            measurement("update", "luod: blackout", ["files": 1], 4, floor: 2, limit: 1.5),
            measurement("update", "luod, loaded: blackout", ["files": 1], 1, floor: 4, limit: 0.3),
            measurement("update", "luod, loaded: blackout", ["bytes": 256 << 20, "page": 2 << 20], 100),
            measurement("update", "luod, loaded: blackout", ["bytes": 4 << 30, "page": 2 << 20], 120),
            measurement("update", "luod: preserve", ["files": 10], 10, floor: 2, limit: 6), keeping,
        ])
        #expect(targets.map(\.value) == [2, 0.25, 5, 7, 1.2, 1.4, 0.5])
        #expect(targets.map(\.isMet) == [false, true, true, false, false, false, true])
    }

    /// Only measurements with the same memory are compared.
    @Test func timesFasterThanOthers() {
        let targets = BenchTarget.all(of: [
            measurement("compare", "liveupdate", ["bytes": 1 << 30, "page": 2 << 20], 10),
            measurement("compare", "memcpy, fresh", ["bytes": 1 << 30, "page": 2 << 20], 300),
            measurement("compare", "liveupdate", ["descriptors": 1000], 10),
            measurement("compare", "systemd store", ["descriptors": 1000], 100),
            measurement("compare", "criu", ["bytes": 256 << 20], 100),
        ])
        #expect(targets.map(\.value) == [30, 10])
        #expect(targets.map(\.isUpperLimit) == [false, false])
        #expect(targets.map(\.isMet) == [true, false])
    }

    @Test func labels() {
        func label(_ parameters: [String: UInt64]) -> String { measurement("x", "cycle", parameters, 1).label }
        #expect(label(["bytes": 4096, "page": 4096, "files": 1]) == "cycle, 1 file")
        #expect(
            label(["bytes": 1 << 30, "page": 2 << 20, "files": 4, "holes": 50])
                == "cycle, 1 GiB in pages of 2 MiB, 4 files, 50 % holes")
        #expect(
            label(["bytes": 1 << 30, "page": 2 << 20, "files": 512]) == "cycle, 1 GiB in pages of 2 MiB, 512 files")
        #expect(label(["descriptors": 1000]) == "cycle, 1000 descriptors")
    }
}

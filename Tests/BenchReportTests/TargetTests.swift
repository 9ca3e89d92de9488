// SPDX-License-Identifier: Apache-2.0
import LiveUpdateBenchReport
import TestSupport
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

    @Test("A promise is a sentence")
    func sentences() throws {
        let cases: [(String, String, [String: UInt64], String)] = [
            (
                "hugetlb", "preserve", ["bytes": 1 << 30, "page": 2 << 20, "files": 1],
                "preserving 1 GiB in pages of 2 MiB, 1 file, takes"
            ),
            (
                "hugetlb", "preserve", ["bytes": 1 << 30, "page": 2 << 20, "files": 4, "holes": 50],
                "preserving 1 GiB in pages of 2 MiB, 4 files, 50 % holes, takes"
            ),
            (
                "update", "cycle", ["bytes": 1000 * 4096, "page": 4096, "files": 1000],
                "an update by execve with 1,000 files takes"
            ),
            ("update", "hand-over: blackout", ["files": 1], "the blackout of a hand-over with 1 file takes"),
            ("update", "luod: blackout", ["files": 253], "the blackout of luod with 253 files takes"),
            (
                "update", "luod, loaded: blackout", ["files": 253],
                "the blackout of luod with a loaded image and 253 files takes"
            ),
            ("update", "luod: preserve", ["files": 1000], "preserving one more file in luod beside 1,000 files takes"),
            (
                "run", "another file's open", ["processors": 1],
                "an open of another file under luoctl run, on 1 processor, takes"
            ),
            ("run", "GET_NAME", ["processors": 2], "GET_NAME under luoctl run, on 2 processors, takes"),
            ("verify", "crc32c", ["bytes": 1 << 30], "the CRC32C of 1 GiB takes"),
            ("x", "cycle", ["descriptors": 1000], "cycle, 1,000 descriptors takes"), ("x", "cycle", [:], "cycle takes"),
        ]
        for (scenario, name, parameters, words) in cases {
            let targets = BenchTarget.all(of: [measurement(scenario, name, parameters, 1, floor: 1, limit: 1.25)])
            #expect(targets.map(\.name) == ["\(words) at most 1.25 times as long as the floor"])
        }
        let others = BenchTarget.all(of: BenchSamples.full().measurements).filter { $0.scenario != "hugetlb" }.map(
            \.name)
        for words in [
            "preserving one more file takes at most 1.2 times as long beside 10,000 files as beside 100",
            "creating one more session takes at most 1.2 times as long beside 10,000 sessions as beside 100",
            "preserving and updating 1 GiB is at least 20 times faster than copying with memcpy",
            "preserving and updating 1,000 descriptors is at least 20 times faster than systemd's descriptor store",
            "preserving and updating 256 MiB is at least 150 times faster than CRIU",
        ] { #expect(others.contains(words), "\(words)") }
    }

    /// Two results of ours have the same parameters; that of the same rounds is the right one.
    @Test func timesFasterInTheSameRounds() {
        let parameters: [String: UInt64] = ["bytes": 256 << 20]
        let targets = BenchTarget.all(of: [
            measurement("compare", "liveupdate", parameters, 10),
            measurement("compare", "memcpy, fresh", parameters, 30),
            measurement("compare", "liveupdate", parameters, 20), measurement("compare", "criu", parameters, 4_000),
        ])
        #expect(targets.map(\.value) == [200])
    }
}

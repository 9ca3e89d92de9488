// SPDX-License-Identifier: Apache-2.0
import LiveUpdateBenchReport
import LiveUpdateCommandLine
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// Measures an update of a real process, by execve and by a hand-over: the blackout and its parts.
struct UpdateScenario {
    private let run: BenchRun

    init(_ run: BenchRun) { self.run = run }

    var steps: [BenchStep] {
        let byFiles = [1, 253, 1000].map { count in
            BenchStep(scenario: .update, title: "\(count) files", seconds: seconds(1 + Double(count) / 100)) {
                try BenchMemory.withFiles(UInt64(count), of: PageSize.base.bytes, .base) { files in
                    try measure(files, page: .base, bytes: UInt64(count) * PageSize.base.bytes, limit: 1.5)
                }
            }
        }
        let byBytes = BlackoutSizes.chosen(from: run.sizes).map { bytes in
            BenchStep(
                scenario: .update, title: "\(ByteCount.text(bytes)) of 2M pages",
                seconds: seconds(1 + Double(bytes >> 30)), body: { try measure(bytes) })
        }
        return byFiles + byBytes + DaemonMeasurement(run).steps
    }

    private func seconds(_ full: Double) -> Double { run.isQuick ? full / 8 : full }

    private func measure(_ bytes: UInt64) throws {
        let count = bytes / PageSize.huge2M.bytes
        let problem = try run.withHugePages(count, .huge2M) {
            try BenchMemory.withFiles(4, of: bytes / 4, .huge2M) { files in
                try measure(files, page: .huge2M, bytes: bytes, limit: nil)
            }
        }
        guard let problem else { return }
        run.miss(
            .update, "\(ByteCount.text(bytes)) of 2M pages", problem,
            remedy: BenchMemory.remedy(count))
    }

    private func measure(_ files: [FileDescriptor], page: PageSize, bytes: UInt64, limit: Double?) throws {
        let updates = try UpdateRounds(run, files, page)
        try updates.measure(rounds: run.rounds(quick: 15, full: 200))
        let parameters = ["files": UInt64(files.count), "bytes": bytes, "page": page.bytes]
        func add(
            _ name: String, _ ours: [Double], _ floor: [Double]? = nil, _ floorName: String? = nil,
            limit: Double? = nil, note: String? = nil
        ) {
            run.add(
                BenchMeasurement(
                    scenario: "update", name: name, parameters: parameters, ours: BenchDistribution(ours),
                    floor: floor.map(BenchDistribution.init), floorName: floorName, ratioLimit: limit, note: note))
        }
        let moments = updates.ours
        add(
            "cycle", moments.map { $0.finished - $0.rebooting }, updates.exec,
            "C: execve with the calls that keeping the same files takes, and a word of each read", limit: limit,
            note: "from before the update was asked for until a word of every file was read")
        add(
            "cycle through a keeper", moments.map { $0.finished - $0.rebooting }, updates.keeper,
            "C: the descriptors over a socket to a keeper, and from it to a new process",
            note: "ours is the cycle above; the floor is that of a program that leaves its files with another process")
        add("blackout", moments.map { $0.answered - $0.freezing })
        add("freeze", moments.map { $0.frozen - $0.freezing })
        add("publish", moments.map { $0.published - $0.frozen })
        add("execve", moments.map { $0.started - $0.published })
        add("boot", moments.map { $0.opened - $0.started })
        add("answer", moments.map { $0.answered - $0.opened })
        let handOvers = updates.handOvers
        add(
            "hand-over: blackout", handOvers.map { $0.answered - $0.freezing }, updates.exec,
            "C: execve with the calls that keeping the same files takes, and a word of each read",
            limit: limit == nil ? nil : 0.3,
            note: "from the first freeze until the next process answers; the floor is the whole cycle")
        add("hand-over: freeze", handOvers.map { $0.frozen - $0.freezing })
        add("hand-over: take over", handOvers.map { $0.answered - $0.frozen })
    }
}

// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateBenchReport
import LiveUpdateCommandLine
import LiveUpdateCore
import LiveUpdateDevice
import LiveUpdatePlatform
import SystemPackage

/// Measures updates of luod with the same files as the image that replaces itself, and the cost of preserving one file.
struct DaemonMeasurement {
    private let run: BenchRun

    init(_ run: BenchRun) { self.run = run }

    var steps: [BenchStep] {
        guard geteuid() == 0 else {
            return [
                step("luod", 0) {
                    run.miss(.update, "luod", "only root updates one", remedy: "run it as root")
                }
            ]
        }
        let byFiles = [1, 253, 1000].map { count in
            step("luod, \(count) files", 4 + Double(count) / 20) {
                try BenchMemory.withFiles(UInt64(count), of: PageSize.base.bytes, .base) { files in
                    try measureUpdates(files, .base, bytes: UInt64(count) * PageSize.base.bytes)
                }
            }
        }
        let byBytes = BlackoutSizes.chosen(from: run.sizes).map { bytes in
            step("luod, \(ByteCount.text(bytes)) of 2M pages", 4 + Double(bytes >> 30)) {
                try measureUpdates(ofHuge: bytes)
            }
        }
        return byFiles + byBytes + [step("luod, one more file", 3) { try measurePreserve() }]
    }

    private func step(_ title: String, _ seconds: Double, _ body: @escaping () throws -> Void) -> BenchStep {
        BenchStep(scenario: .update, title: title, seconds: run.isQuick ? seconds / 8 : seconds, body: body)
    }

    // MARK: Updates

    private func measureUpdates(ofHuge bytes: UInt64) throws {
        let count = bytes / PageSize.huge2M.bytes
        let problem = try run.withHugePages(count, .huge2M) {
            try BenchMemory.withFiles(4, of: bytes / 4, .huge2M) { try measureUpdates($0, .huge2M, bytes: bytes) }
        }
        guard let problem else { return }
        run.miss(
            .update, "luod, \(ByteCount.text(bytes)) of 2M pages", problem,
            remedy: BenchMemory.remedy(count))
    }

    private func measureUpdates(_ files: [FileDescriptor], _ page: PageSize, bytes: UInt64) throws {
        let parameters = ["files": UInt64(files.count), "bytes": bytes, "page": page.bytes]
        let floors = try UpdateRounds(run, files, page)
        let daemon = try BenchDaemon(run.programs, on: run.processors)
        var ours: [(kind: Kind, times: [UpdateTimes])] = Kind.allCases.map { ($0, []) }
        var floor: [Double] = []
        // The first round does not count, because it reads programs from the disk.
        for round in 0...run.rounds(quick: 5, full: 100) {
            let cycle = try floors.throughKeeper()
            if round > 0 { floor.append(cycle) }
            for index in ours.indices {
                let times = try update(daemon.device, files, isLoaded: ours[index].kind == .loaded)
                if round > 0 { ours[index].times.append(times) }
            }
        }
        for (kind, times) in ours { add(kind, times, floor, parameters, isLimited: page == .base) }
    }

    /// Whether the next image is loaded before the update.
    private enum Kind: String, CaseIterable {
        case plain = "luod"
        case loaded = "luod, loaded"

        /// The upper limit of the blackout's ratio to the floor.
        var limit: Double { self == .plain ? 1.5 : 0.3 }
    }

    private func update(
        _ device: LiveUpdateDevice, _ files: [FileDescriptor], isLoaded: Bool
    ) throws -> UpdateTimes {
        let session = try device.createSession("bench")
        for (token, file) in files.enumerated() { try session.preserve(file, token: UInt64(token)) }
        if isLoaded { try device.load() }
        let times = try device.update()
        try device.retrieveSession("bench").finish()
        return times
    }

    private func add(
        _ kind: Kind, _ times: [UpdateTimes], _ floor: [Double], _ parameters: [String: UInt64], isLimited: Bool
    ) {
        func add(
            _ name: String, _ part: (UpdateTimes) -> UInt64, floor: [Double]? = nil, limit: Double? = nil,
            note: String? = nil
        ) {
            run.add(
                BenchMeasurement(
                    scenario: "update", name: "\(kind.rawValue): \(name)", parameters: parameters,
                    ours: BenchDistribution(times.map { Double(part($0)) }), floor: floor.map(BenchDistribution.init),
                    floorName: floor.map { _ in
                        "C: the descriptors over a socket to a keeper, and from it to a new process"
                    },
                    ratioLimit: limit, note: note))
        }
        add(
            "blackout", \.blackout, floor: floor, limit: isLimited ? kind.limit : nil,
            note: "from the first freeze until the next boot answers; the floor is the whole cycle")
        add("publish", { $0.published - $0.loaded })
        add("take over", { $0.takenOver - $0.published })
        add("switch", { $0.switched - $0.takenOver })
        add("answer", { $0.answered - $0.switched })
        if kind == .plain {
            add("whole update", { $0.answered - $0.asked }, floor: floor, note: "with loading, while all are served")
        }
    }

    // MARK: Keeping

    private func measurePreserve() throws {
        let daemon = try BenchDaemon(run.programs, on: run.processors)
        try run.processors.measureHere()
        let floor = try FloorProcess(.call, [], in: run.programs)
        let session = try daemon.device.createSession("bench")
        var there: UInt64 = 0
        for count in [10, 1000] as [UInt64] {
            while there < count {
                let file = try makeMemoryFile(named: "luoctl-bench", size: 4096)
                try session.preserve(file.borrowed, token: there)
                there += 1
            }
            var (ours, theirs): ([Double], [Double]) = ([], [])
            for _ in 0..<run.rounds(quick: 100, full: 1000) {
                let file = try makeMemoryFile(named: "luoctl-bench", size: 4096)
                ours.append(try elapsed { try session.preserve(file.borrowed, token: count) })
                try session.unpreserve(token: count)
                theirs.append(try floor.round()[0])
            }
            run.add(
                BenchMeasurement(
                    scenario: "update", name: "luod: preserve", parameters: ["files": count],
                    ours: BenchDistribution(ours), floor: BenchDistribution(theirs),
                    floorName: "C: a message with a descriptor to another process, and its answer",
                    counted: ["resident bytes": try daemon.resident()], ratioLimit: 6,
                    note: "one more file, over the socket; resident are both processes, with what they share twice"))
        }
    }
}

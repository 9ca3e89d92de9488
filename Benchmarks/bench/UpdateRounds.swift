// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// Measures updates of the benchmark's image and of its floors in turn, with the same files. Each is a new process.
final class UpdateRounds {
    /// The moments that the image prints, in nanoseconds.
    struct Moments {
        let preserving, rebooting, freezing, frozen, published, started, opened, answered, finished: Double

        init(_ times: [Double]) {
            (preserving, rebooting, freezing) = (times[0], times[1], times[2])
            (frozen, published, started) = (times[3], times[4], times[5])
            (opened, answered, finished) = (times[6], times[7], times[8])
        }
    }

    /// The moments of a hand-over, which its image prints, in nanoseconds.
    struct HandOverMoments {
        let freezing, frozen, answered, finished: Double

        init(_ times: [Double]) { (freezing, frozen, answered, finished) = (times[0], times[1], times[2], times[3]) }
    }

    private(set) var ours: [Moments] = []
    private(set) var handOvers: [HandOverMoments] = []
    private(set) var exec: [Double] = []
    private(set) var keeper: [Double] = []

    private let run: BenchRun
    private let page: PageSize
    /// The number of the first descriptor that the measured processes inherit.
    let first: CInt
    private(set) var inherited: [FileDescriptor] = []

    /// Prepares rounds with these files. The caller still owns their descriptors.
    init(_ run: BenchRun, _ files: [FileDescriptor], _ page: PageSize) throws {
        self.run = run
        self.page = page
        // The numbers are consecutive. They begin above the image's own copies and above all open descriptors here.
        first = max(128 + CInt(files.count), (try openDescriptors().last ?? 0) + 1)
        for (index, file) in files.enumerated() {
            let number = first + CInt(index)
            let copy = try file.duplicated(from: number).release()
            inherited.append(copy)
            guard copy.rawValue == number else {
                throw LiveUpdateError(.fileExists, "descriptor \(number) is in use", remedy: "start luoctl without it")
            }
        }
    }

    deinit { for file in inherited { try? closeDescriptor(file) } }

    func measure(rounds: Int) throws {
        let range = ["\(first)", "\(inherited.count)"]
        // The first round does not count, because it reads programs from the disk.
        for round in 0...rounds {
            let moments = Moments(try times(.image, range + ["\(page.bytes)"], count: 9))
            let handOver = HandOverMoments(
                try times(.image, ["hand-over"] + range + ["\(page.bytes)"], count: 4))
            let exec = try times(.exec, ["start"] + range, count: 1)[0]
            let keeper = try throughKeeper()
            if round == 0 { continue }
            ours.append(moments)
            handOvers.append(handOver)
            self.exec.append(exec)
            self.keeper.append(keeper)
        }
    }

    /// Measures the floor of an update that leaves the same files with a keeper.
    func throughKeeper() throws -> Double { try times(.cycle, ["\(first)", "\(inherited.count)"], count: 1)[0] }

    private func times(_ name: BenchPrograms.Name, _ arguments: [String], count: Int) throws -> [Double] {
        let child = try run.processors.startMeasured(run.programs.image(name, arguments), inherited: inherited)
        defer {
            // The image of a hand-over ends later than the process that started it.
            while child.readLine() != nil {}
            child.finish()
        }
        return try child.times(of: name, count: count)
    }
}

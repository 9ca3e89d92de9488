import LiveUpdate
import Platform
import SystemPackage

/// Updates of the bench's image, and what their floors take for the same files, in turn. Each is a process of its own.
final class UpdateRounds {
    /// As the image prints them, in nanoseconds.
    struct Moments {
        let preserving, rebooting, freezing, frozen, published, started, opened, answered, finished: Double

        init(_ times: [Double]) {
            (preserving, rebooting, freezing) = (times[0], times[1], times[2])
            (frozen, published, started) = (times[3], times[4], times[5])
            (opened, answered, finished) = (times[6], times[7], times[8])
        }
    }

    private(set) var ours: [Moments] = []
    private(set) var exec: [Double] = []
    private(set) var keeper: [Double] = []

    private let run: BenchRun
    private let page: PageSize
    /// The number of the first of those that the measured processes inherit.
    let first: CInt
    private(set) var inherited: [FileDescriptor] = []

    /// - Parameter files: what is preserved; they stay the caller's.
    init(_ run: BenchRun, _ files: [FileDescriptor], _ page: PageSize) throws {
        self.run = run
        self.page = page
        // One behind the other, clear of where the image keeps its own copies and of what is open here.
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
        // The first round has what comes from the disk.
        for round in 0...rounds {
            let moments = Moments(try times(.image, range + ["\(page.bytes)"], count: 9))
            let exec = try times(.exec, ["start"] + range, count: 1)[0]
            let keeper = try throughKeeper()
            if round == 0 { continue }
            ours.append(moments)
            self.exec.append(exec)
            self.keeper.append(keeper)
        }
    }

    /// What the least takes that leaves the same files with a keeper.
    func throughKeeper() throws -> Double { try times(.cycle, ["\(first)", "\(inherited.count)"], count: 1)[0] }

    private func times(_ name: BenchPrograms.Name, _ arguments: [String], count: Int) throws -> [Double] {
        let child = try run.processors.startMeasured(run.programs.image(name, arguments), inherited: inherited)
        defer { child.finish() }
        return try child.times(of: name, count: count)
    }
}

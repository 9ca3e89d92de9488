// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import SystemPackage

/// The paths of the measured and compared programs. After a build they are beside luoctl. After an installation they
/// are in ../libexec/liveupdate, and luod is in ../sbin.
struct BenchPrograms {
    enum Name: String, CaseIterable {
        case image = "luo-bench-image"
        case service = "luo-bench-service"
        case preserve = "luo-floor-preserve"
        case exec = "luo-floor-exec"
        case cycle = "luo-floor-cycle"
        case send = "luo-floor-send"
        case read = "luo-floor-read"
        case call = "luo-floor-call"
        case notify = "luo-floor-notify"
        case caller = "luo-bench-caller"
    }

    let directory: String
    /// The path of luod.
    let daemon: String

    /// - Throws: exit code 69, with advice, if a program is missing.
    init(besides executable: String = "/proc/self/exe") throws {
        let own = FilePath((try? linkTarget(executable)) ?? executable).removingLastComponent()
        let places = [own, own.removingLastComponent().appending("libexec/liveupdate")].map(\.string)
        guard let found = places.first(where: { Self.missing(in: $0).isEmpty }) else {
            let names = Self.missing(in: places[0]).map(\.rawValue).joined(separator: ", ")
            throw Exit.unavailable(
                "\(names): not in \(places.joined(separator: ", nor all in ")); make bench builds and runs everything, "
                    + "make install puts it where luoctl finds it")
        }
        directory = found
        let daemons = [own.appending("luod"), own.removingLastComponent().appending("sbin/luod")].map(\.string)
        guard let luod = daemons.first(where: { unsafe access($0, X_OK) == 0 }) else {
            throw Exit.unavailable(
                "luod: neither \(daemons.joined(separator: " nor ")); make bench builds and runs everything, make install "
                    + "puts it where luoctl finds it")
        }
        daemon = luod
    }

    private static func missing(in directory: String) -> [Name] {
        Name.allCases.filter { unsafe access("\(directory)/\($0.rawValue)", X_OK) != 0 }
    }

    func image(_ name: Name, _ arguments: [String]) -> ProgramImage {
        ProgramImage(path: path(name), arguments: [name.rawValue] + arguments)
    }

    func path(_ name: Name) -> String { "\(directory)/\(name.rawValue)" }
}

/// A floor that does one round for each line on its standard input.
final class FloorProcess {
    private let child: ChildProcess
    private let name: BenchPrograms.Name

    init(
        _ name: BenchPrograms.Name, _ arguments: [String], inherited: [FileDescriptor] = [], in programs: BenchPrograms
    ) throws {
        self.name = name
        child = try ChildProcess.start(programs.image(name, arguments), inherited: inherited)
    }

    /// Runs one round. Returns the nanoseconds of each of its parts.
    func round(count: Int = 1) throws -> [Double] {
        try child.write(line: "")
        return try child.times(of: name, count: count)
    }

    deinit { child.finish() }
}

extension ChildProcess {
    /// The numbers of the next line that the process prints.
    func times(of name: BenchPrograms.Name, count: Int) throws -> [Double] {
        let line = readLine() ?? ""
        let times = line.split(separator: " ").compactMap { Double($0) }
        guard times.count >= count else {
            throw LiveUpdateError(
                .ioError, "\(name.rawValue) ended\(line.isEmpty ? "" : ", and said: \(line)")",
                remedy: "its message on standard error says why")
        }
        return times
    }
}

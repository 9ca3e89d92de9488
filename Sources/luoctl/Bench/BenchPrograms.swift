import Glibc
import LiveUpdate
import Platform
import SystemPackage

/// Where the programs are that are measured or compared with: beside luoctl where they are built, in
/// ../libexec/liveupdate where they are installed; luod in ../sbin then.
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
    /// Where luod is.
    let daemon: String

    /// - Throws: exit code 69, and what to do, when they are not there.
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

/// A floor that waits: one round for each line that it gets.
final class FloorProcess {
    private let child: ChildProcess
    private let name: BenchPrograms.Name

    init(
        _ name: BenchPrograms.Name, _ arguments: [String], inherited: [FileDescriptor] = [], in programs: BenchPrograms
    ) throws {
        self.name = name
        child = try ChildProcess.start(programs.image(name, arguments), inherited: inherited)
    }

    /// Nanoseconds, one for each part of a round.
    func round(count: Int = 1) throws -> [Double] {
        try child.write(line: "")
        return try child.times(of: name, count: count)
    }

    deinit { child.finish() }
}

extension ChildProcess {
    /// The numbers of the next line that it prints.
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

import Glibc
import LiveUpdate
import Platform
import SystemPackage

/// Compares this library with C programs that make the same system calls: ours and the floor in alternation, in one run,
/// on memory that was touched before.
///
/// No Foundation and no argument parser: this program is also the image that the update is measured with.
@main
enum Luobench {
    static func main() {
        let arguments = [String](CommandLine.arguments.dropFirst())
        do {
            if arguments.first == "update" { try UpdateStage.run([String](arguments.dropFirst())) }
            guard let floors = value(of: "--floors", in: arguments) else {
                print("usage: luobench --floors DIRECTORY [--quick]")
                exit(64)
            }
            let quick = arguments.contains("--quick")
            print("ratio: ours to the floor, both medians of this run\n")
            try PreserveBenchmark(floors: floors, rounds: quick ? 10 : 50).run()
            try UpdateBenchmark(floors: floors, rounds: quick ? 10 : 50).run()
            try CountBenchmark(rounds: quick ? 200 : 1000).run()
            try VerifyBenchmark(floors: floors, rounds: quick ? 5 : 15).run()
        } catch {
            print("luobench: \(error)")
            exit(1)
        }
    }

    private static func value(of option: String, in arguments: [String]) -> String? {
        guard let index = arguments.firstIndex(of: option), index + 1 < arguments.count else { return nil }
        return arguments[index + 1]
    }
}

/// Times of one thing, in nanoseconds.
struct Samples {
    private var values: [UInt64] = []

    mutating func add(_ value: UInt64) { values.append(value) }

    private func quantile(_ numerator: Int, _ denominator: Int) -> UInt64 {
        let sorted = values.sorted()
        return sorted.isEmpty ? 0 : sorted[(sorted.count - 1) * numerator / denominator]
    }

    var median: UInt64 { quantile(1, 2) }

    /// The median with the quarters around it, in microseconds.
    var text: String { "\(Self.micro(median)) µs (\(Self.micro(quantile(1, 4)))–\(Self.micro(quantile(3, 4))))" }

    private static func micro(_ nanoseconds: UInt64) -> String {
        "\(nanoseconds / 1000).\(nanoseconds % 1000 / 100)"
    }

    static func ratio(_ ours: Samples, _ floor: Samples) -> String { hundredths(ours.median, floor.median) }

    static func hundredths(_ numerator: UInt64, _ denominator: UInt64) -> String {
        let value = numerator * 100 / max(denominator, 1)
        return "\(value / 100).\(value % 100 / 10)\(value % 10)"
    }
}

/// One line of the result.
func report(_ what: String, ours: Samples, floor: Samples, limit: String) {
    print(
        "\(what)\n  ours \(ours.text)\n  floor \(floor.text)\n  ratio \(Samples.ratio(ours, floor)), to be \(limit)\n")
}

func elapsed(_ body: () throws -> Void) rethrows -> UInt64 {
    let start = monotonicNanoseconds()
    try body()
    return monotonicNanoseconds() - start
}

extension ChildProcess {
    /// One round of a floor program that waits for a line.
    func round() throws -> UInt64 {
        try write(line: "")
        guard let line = readLine(), let time = UInt64(line) else {
            throw LiveUpdateError(.ioError, "a floor program ended")
        }
        return time
    }
}

/// Huge pages for the length of a closure.
func withHugePages(_ count: UInt64, _ body: () throws -> Void) throws {
    let taken: UInt64
    do {
        taken = try HugePageReservation.take(count, of: .huge2M)
    } catch {
        print("  skipped: \(count) huge pages of 2 MiB cannot be reserved: \(error)\n")
        return
    }
    defer { try? HugePageReservation.giveBack(taken, of: .huge2M) }
    do {
        try body()
    } catch let error as SystemCallError where error.errno == .noSpace {
        print("  skipped: others took huge pages meanwhile\n")
    }
}

/// A memory file all of whose pages exist.
func makeTouchedFile(size: UInt64, pageSize: PageSize) throws -> FileDescriptor {
    let file = try makeMemoryFile(named: "luobench", size: size, pageSize: pageSize)
    try file.borrowed.allocate(offset: 0, length: size)
    let mapping = try Mapping(of: file.borrowed, length: size, .shared(writable: true))
    for offset in stride(from: 0, to: Int(size), by: 4096) {
        // SAFETY: inside the mapping.
        unsafe mapping.bytes.storeBytes(of: UInt64(offset) + 1, toByteOffset: offset, as: UInt64.self)
    }
    return file.release()
}

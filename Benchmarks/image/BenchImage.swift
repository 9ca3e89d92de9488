import Glibc
import LiveUpdateEmbedded
import Platform
import SystemPackage

/// luo-bench-image FIRST COUNT PAGE: the program that `luoctl bench` updates.
///
/// 1. Inherits the files FIRST ... FIRST + COUNT - 1, preserves them, and becomes itself by an update.
/// 2. The next image gets them back, reads one word of each (of a page of PAGE bytes), and prints its moments.
///
/// Neither Foundation nor an argument parser: their start would be in every blackout.
///
/// Nor a closure in `main`, or variables in a main.swift: they are the main actor's, which links and starts Swift's
/// concurrency and libdispatch.
@main
enum BenchImage {
    static func main() { run(CommandLine.arguments.dropFirst(), started: monotonicNanoseconds()) }

    private static func run(_ arguments: ArraySlice<String>, started: UInt64) {
        let numbers = arguments.compactMap { UInt64($0) }
        do {
            switch numbers.count {
            case 3: try BeforeUpdate(first: CInt(numbers[0]), count: numbers[1], page: numbers[2]).run()
            case 6:
                try AfterUpdate(count: numbers[1], page: numbers[2], published: CInt(numbers[5])).run(
                    Moments(preserving: numbers[3], rebooting: numbers[4], started: started))
            default:
                print("usage: luo-bench-image FIRST COUNT PAGE; luoctl bench runs it")
                exit(64)
            }
        } catch {
            print("luo-bench-image: \(error)")
            exit(1)
        }
    }
}

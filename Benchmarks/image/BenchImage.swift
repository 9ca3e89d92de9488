// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdate
import LiveUpdatePlatform
import SystemPackage

/// luo-bench-image [hand-over] FIRST COUNT PAGE: the program that `luoctl bench` updates.
///
/// 1. The first image inherits the files FIRST ... FIRST + COUNT - 1, preserves them, and replaces itself by an update.
/// 2. The next image retrieves them, reads one word of each (in a page of PAGE bytes), and prints its moments.
///
/// With `hand-over`, the first process does not become the next image, but hands over to it: ``HandOverImage``.
///
/// It uses neither Foundation nor an argument parser, because every blackout would include their start-up time.
///
/// It also has no closure in `main` and no variables in a main.swift. Those belong to the main actor, which links and
/// starts Swift's concurrency and libdispatch.
@main
enum BenchImage {
    static func main() { run(CommandLine.arguments.dropFirst(), started: monotonicNanoseconds()) }

    private static func run(_ arguments: ArraySlice<String>, started: UInt64) {
        let numbers = arguments.compactMap { UInt64($0) }
        do {
            switch numbers.count {
            case 3 where arguments.first == "hand-over":
                try HandOverImage(first: CInt(numbers[0]), count: numbers[1], page: numbers[2]).run()
            case 3: try BeforeUpdate(first: CInt(numbers[0]), count: numbers[1], page: numbers[2]).run()
            case 6:
                try AfterUpdate(count: numbers[1], page: numbers[2], published: CInt(numbers[5])).run(
                    Moments(preserving: numbers[3], rebooting: numbers[4], started: started))
            default:
                print("usage: luo-bench-image [hand-over] FIRST COUNT PAGE; luoctl bench runs it")
                exit(64)
            }
        } catch {
            print("luo-bench-image: \(error)")
            exit(1)
        }
    }
}

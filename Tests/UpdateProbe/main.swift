// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdate
import LiveUpdateCore
import LiveUpdateHandlers
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

// A program that replaces itself and keeps its files. Its first argument selects the test. Each boot prints one line of
// JSON for each result. See IntegrationTests.

let mode = CommandLine.arguments.dropFirst().first ?? ""
let number = CommandLine.arguments.dropFirst(2).first.flatMap { Int($0) } ?? 0
let updates = CommandLine.arguments.dropFirst(3).first.flatMap { UInt64($0) } ?? 1

do {
    switch mode {
    case "keep": try Keep.run(files: number, updates: updates)
    case "hand-over":
        let faulty = CommandLine.arguments.dropFirst(4).first ?? ""
        try HandOverProbe.run(files: number, updates: updates, faulty: faulty)
    case "limit": try Limit.run(limit: number)
    case "limit-after": try LimitAfter.run()
    case "offer": try Offer.run(path: CommandLine.arguments[2], unlinking: CommandLine.arguments.contains("--unlink"))
    case "bad-image": try BadImage.run(CommandLine.arguments[2])
    case "resize": try Resize.run()
    case "unfinished": try Unfinished.run()
    case "forget": try Forget.run()
    case "hold": try Hold.run(hugePages: number, isBusy: CommandLine.arguments.contains("--busy"))
    case "begin": _ = try begin()
    case "begin-lacking": _ = try begin(handlers: false)
    case "begin-twice": try BeginTwice.run()
    case "named": try Named.run(CommandLine.arguments[2], FilePath(CommandLine.arguments[3]))
    case "death": try Death.run(CommandLine.arguments[2], FilePath(CommandLine.arguments[3]))
    case "check": try Check.run()
    default:
        say(["fault": "unknown mode \(mode)"])
        exit(64)
    }
} catch let error as LiveUpdateError {
    say(["error": error.description, "errno": "\(error.errno.rawValue)"])
    exit(1)
} catch {
    say(["fault": "\(error)"])
    exit(2)
}

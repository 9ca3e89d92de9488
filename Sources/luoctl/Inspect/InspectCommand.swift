// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import LiveUpdateCommandLine
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// `luoctl inspect`
struct InspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Show what is in an arena, and what is wrong with it.",
        discussion: """
            Nothing is written or locked: a program may run the arena meanwhile. For a damaged arena, the gate that \
            refused it is named, and its readable part is shown. Every invariant is checked by itself, and each broken \
            one is named with its place. Exit 0 for a sound arena, 1 for a damaged arena or another file, 64 for a path \
            without a file, 69 for an arena that cannot be read now, 77 without permission.
            """)

    @Argument(help: "The arena: a path, as /proc/PID/fd/N of the process that runs it.", completion: .file())
    var arena: String

    @Flag(help: "Show the journal's records, in words.")
    var log = false

    @Flag(help: "Show where each file has pages, and the page frames of huge ones.")
    var pages = false

    @Flag(help: "Print JSON, for machines: docs/inspect.md describes it.")
    var json = false

    @Option(
        help: "How much is read at most, with K, M, G or T: as far as the arena may grow. (default: 1G)",
        transform: ByteCount.parse)
    var limit: UInt64 = ArenaSnapshot.defaultLimit

    func validate() throws {
        guard limit >= 4096 else { throw ValidationError("--limit takes 4K or more: an arena has a first page") }
    }

    func run() throws {
        let document = InspectDocument(arena, Inspection(try snapshot()), log: log, pages: pages)
        print(json ? document.json : InspectText(document).text)
        if let first = document.failures.first { throw Exit.failed("\(arena.shown): \(first.shown)") }
        if let first = document.invariants.broken.first { throw Exit.failed("\(arena.shown): \(first.shown)") }
    }

    private func snapshot() throws -> ArenaSnapshot {
        let file: OwnedDescriptor
        do {
            file = try openToLook(arena)
        } catch {
            throw exit(error.errno, "\(error)")
        }
        guard (try? FileStatus(of: file.borrowed))?.isRegular == true else {
            throw exit(.isDirectory, "no regular file")
        }
        do {
            return try ArenaSnapshot(of: file.borrowed, limit: limit)
        } catch {
            throw exit(error.errno, error.reason)
        }
    }

    private func exit(_ errno: Errno, _ reason: String) -> ExitCode {
        let message = "\(arena.shown): \(reason)"
        return switch errno {
        case .permissionDenied, .notPermitted:
            Exit.permission("\(message); run as root, or as the user that runs the arena")
        case .noSuchFileOrDirectory, .notDirectory, .isDirectory, .tooManySymbolicLinkLevels, .fileNameTooLong,
            .noSuchAddressOrDevice:
            Exit.usage("\(message); name an arena, as /proc/PID/fd/N of the process that runs it")
        case .fileTooLarge: Exit.unavailable("\(message); raise --limit")
        default: Exit.unavailable("\(message); try again")
        }
    }
}

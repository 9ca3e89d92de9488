// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateDaemon
import LiveUpdateHandover
import LiveUpdatePlatform
import SystemPackage

/// The command line, and the environment variable that replaces an option. Every number is checked here, so that later
/// arithmetic cannot overflow.
struct Arguments {
    var settings: Settings
    var wantsHelp = false
    var wantsVersion = false

    static let help = """
        usage: luod [--state DIR] [OPTION VALUE]...

        Keeps memory files for programs that come and go, and over updates of itself. It runs in the foreground, says
        "ready" on standard output, and logs to standard error.

          --state DIR             the state directory; default $LUO_STATE, or /run/luo
          --socket-mode MODE      permissions of the clients' socket, octal; default 0600: this user and root
          --socket-group GROUP    group of the clients' socket, by name or number; default: the group of this process
          --max-arena SIZE        size that the arena may grow to; default 1G
          --max-sessions N        sessions that one user may have; default 4096
          --max-files N           files that one user may have; default 65536
          --max-user-arena SIZE   part of the arena that the files of one user may take; default 256M
          --max-user-memory SIZE  memory of the memory files of one user; default: no limit, and a quarter of the
                                  machine's memory if every user can connect
          --max-user-huge-pages 2M=N,1G=N
                                  huge pages of the files of one user, by page size; default: no limit, and a quarter
                                  of each pool if every user can connect
          --max-user-descriptors N
                                  descriptors that luod holds for one user; default 16384
          --max-descriptors N     descriptors that each process of luod may have; default 65536
          --as-kernel VERSION     programs under luoctl run find only the calls of that kernel, 7.0, 7.2 or 7.3
                                  (docs/run.md); default: all calls
          --until-unused          end, and remove the state, with the last program under luoctl run, and when standard
                                  input ends before there is one
          --unconfined            the orchestrator keeps its rights: for debugging
          --silence N             milliseconds that one process of luod may not answer until another one ends it;
                                  default 30000
          --log-format FORMAT     text, json or journal (docs/log.md); default: journal if standard error is a journal's
                                  stream ($JOURNAL_STREAM), and else text
          --patience N            milliseconds that a next image may take until an update is called off; default 5000

          --help, -h              print this
          --version               print the version, as luoctl does

        A SIZE is a number of bytes, or has one of the units K, M, G and T (powers of 1024). Limits of one user do not
        apply to root. The mode and the group of a socket that a service manager has passed are left as they are.

        Exit codes:
           0  ended by SIGTERM, SIGINT, SIGHUP (unless it is ignored, as by nohup) or luoctl stop
           1  failed
          64  wrong usage, or too long a path of the state
          65  the state is damaged, has files that are not luod's, or was written by another version
          69  another luod runs on the state, or something that luod needs is not available: memory, space, descriptors
          77  no right to the state
        """

    struct UsageError: Error, CustomStringConvertible {
        var description: String
    }

    init(_ arguments: [String]) throws(UsageError) {
        settings = Settings(state: try Self.defaultState())
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            try Self.checkText(argument + (rest.first ?? ""), "an argument")
            switch argument {
            case "--help", "-h": wantsHelp = true
            case "--version": wantsVersion = true
            case "--state": settings.state = absolutePath(try Self.value(of: argument, &rest))
            case "--until-unused": settings.endsUnused = true
            case "--as-kernel": settings.kernel = try Self.kernel(argument, &rest)
            case "--log-format": settings.logFormat = try Self.logFormat(argument, &rest)
            case "--unconfined": settings.isConfined = false
            case "--socket-mode": settings.socketMode = try Self.mode(argument, &rest)
            case "--socket-group": settings.socketGroup = try Self.group(argument, &rest)
            case "--max-arena": settings.arena.limit = try Self.size(argument, &rest)
            case "--max-sessions": settings.limits.sessions = Int(try Self.number(argument, &rest))
            case "--max-files": settings.limits.files = Int(try Self.number(argument, &rest))
            case "--max-user-arena": settings.limits.arenaBytes = try Self.size(argument, &rest)
            case "--max-user-memory": settings.memory.bytes = try Self.size(argument, &rest)
            case "--max-user-huge-pages": settings.memory.hugePages = try Self.hugePages(argument, &rest)
            case "--max-descriptors":
                let fewest = UInt64(Settings.fewestDescriptors)
                settings.descriptors = Int(try Self.number(argument, &rest, from: fewest))
            case "--max-user-descriptors": settings.userDescriptors = Int(try Self.number(argument, &rest))
            // At most a day, because poll(2) must be able to wait until the deadline.
            case "--patience": settings.patience = try Self.number(argument, &rest, upTo: 86_400_000)
            case "--silence": settings.silence = try Self.number(argument, &rest, from: 250, upTo: 86_400_000)
            default: throw UsageError(description: "\(argument) is no option: luod --help lists them")
            }
        }
    }

    private static func defaultState() throws(UsageError) -> String {
        let path = stateInEnvironment ?? "/run/luo"
        try checkText(path, "LUO_STATE")
        return absolutePath(path)
    }

    /// Swift replaces bytes that are not UTF-8, so that a path with such bytes would become another path.
    private static func checkText(_ text: String, _ name: String) throws(UsageError) {
        guard text.contains("\u{fffd}") else { return }
        throw UsageError(description: "\(name) is not UTF-8: luod needs a path that is")
    }

    private static func value(of option: String, _ rest: inout ArraySlice<String>) throws(UsageError) -> String {
        guard let value = rest.popFirst(), !value.isEmpty else {
            throw UsageError(description: "\(option) lacks its value: luod --help describes it")
        }
        return value
    }

    private static func kernel(
        _ option: String, _ rest: inout ArraySlice<String>
    ) throws(UsageError) -> EmulatedKernel {
        let text = try value(of: option, &rest)
        guard let kernel = EmulatedKernel(rawValue: text) else {
            throw UsageError(description: "\(option) \(text): give 7.0, 7.2 or 7.3")
        }
        return kernel
    }

    private static func logFormat(_ option: String, _ rest: inout ArraySlice<String>) throws(UsageError) -> LogFormat {
        let text = try value(of: option, &rest)
        guard let format = LogFormat(rawValue: text) else {
            throw UsageError(description: "\(option) \(text): give text, json or journal")
        }
        return format
    }

    private static func number(
        _ option: String, _ rest: inout ArraySlice<String>, from least: UInt64 = 1, upTo most: UInt64 = 1 << 30
    ) throws(UsageError) -> UInt64 {
        let text = try value(of: option, &rest)
        guard let number = UInt64(text), (least...most).contains(number) else {
            throw UsageError(description: "\(option) \(text): give a number from \(least) to \(most)")
        }
        return number
    }

    /// Reads a size from one page to 64 TiB, which 64-bit processors can map.
    private static func size(_ option: String, _ rest: inout ArraySlice<String>) throws(UsageError) -> UInt64 {
        let text = try value(of: option, &rest)
        guard let size = ByteCount(text)?.bytes, (4096...1 << 46).contains(size) else {
            throw UsageError(description: "\(option) \(text): give a size from 4K to 64T, such as 512M")
        }
        return size
    }

    private static func hugePages(
        _ option: String, _ rest: inout ArraySlice<String>
    ) throws(UsageError) -> [PageSize: UInt64] {
        let text = try value(of: option, &rest)
        guard let pages = MemoryLimits.hugePages(text) else {
            throw UsageError(
                description: "\(option) \(text): give a number of pages for each page size, such as 2M=512,1G=2")
        }
        return pages
    }

    private static func mode(
        _ option: String, _ rest: inout ArraySlice<String>
    ) throws(UsageError) -> FilePermissions {
        let text = try value(of: option, &rest)
        guard let mode = CModeT(text, radix: 8), mode <= 0o777 else {
            throw UsageError(description: "\(option) \(text): give permissions in octal, such as 0660")
        }
        return FilePermissions(rawValue: mode)
    }

    private static func group(_ option: String, _ rest: inout ArraySlice<String>) throws(UsageError) -> UInt32 {
        let text = try value(of: option, &rest)
        // The highest number means "no group" in chown(2).
        guard let group = UInt32(text) ?? AccountFile(at: "/etc/group").number(of: text), group != .max else {
            throw UsageError(description: "\(option) \(text): there is no such group; getent group lists them")
        }
        return group
    }
}

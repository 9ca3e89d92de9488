import Handover
import LiveUpdate
import LiveUpdateDaemon
import Platform

/// The command line.
struct Arguments {
    var settings: Settings
    var isOrchestrator = false
    var isGate = false
    var wantsHelp = false
    var wantsVersion = false

    static let help = """
        usage: luod [--state DIR] [OPTION N]...

        Keeps memory files for programs that come and go, and over updates of itself. It runs in the foreground, says
        "ready" on standard output, and logs to standard error.

          --state DIR         the state; default $LUO_STATE, or /run/luo
          --max-arena N       bytes that the arena may grow to
          --max-sessions N    sessions that one user may have, other than root
          --max-files N       files that one user may have, other than root
          --max-user-arena N  bytes of the arena that one user's files may take, other than root
          --max-user-descriptors N  descriptors that are kept for one user, other than root
          --max-descriptors N descriptors that each of its processes may have
          --as-kernel 7.0|7.2 programs under luoctl run find what that kernel had: docs/run.md
          --until-unused      end, and remove the state, with the last program under luoctl run, and when standard input ends
                              before there is one
          --unconfined        the orchestrator keeps its rights: for debugging
          --patience N        milliseconds after which an update is called off when the next image does not take over

          --version           print it, as luoctl does

        Exit codes: 0 ended by SIGTERM, 1 failed, 64 usage, 69 another luod runs on the state, or what it needs is not here,
        77 no right to the state.
        """

    struct Wrong: Error, CustomStringConvertible {
        var description: String
    }

    init(_ arguments: [String]) throws(Wrong) {
        settings = Settings(state: absolutePath(environmentVariable("LUO_STATE") ?? "/run/luo"))
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            // What Swift has put in the place of bytes that are not UTF-8 would be another path.
            guard !(argument + (rest.first ?? "")).contains("\u{fffd}") else {
                throw Wrong(description: "an argument that is not UTF-8: luod needs a path that is")
            }
            switch argument {
            case "orchestrator": isOrchestrator = true
            case "gate": isGate = true
            case "--help", "-h": wantsHelp = true
            case "--version": wantsVersion = true
            case "--state": settings.state = absolutePath(try Self.value(of: argument, &rest))
            case "--until-unused": settings.endsUnused = true
            case "--as-kernel": settings.kernel = try Self.kernel(argument, &rest)
            case "--unconfined": settings.isConfined = false
            case "--max-arena": settings.arena.limit = UInt64(try Self.number(argument, &rest))
            case "--max-sessions": settings.limits.sessions = try Self.number(argument, &rest)
            case "--max-files": settings.limits.files = try Self.number(argument, &rest)
            case "--max-user-arena": settings.limits.arenaBytes = UInt64(try Self.number(argument, &rest))
            case "--max-descriptors": settings.descriptors = try Self.number(argument, &rest)
            case "--max-user-descriptors": settings.userDescriptors = try Self.number(argument, &rest)
            case "--patience": settings.patience = UInt64(try Self.number(argument, &rest))
            default: throw Wrong(description: "\(argument) is no option: luod --help lists them")
            }
        }
    }

    private static func value(of option: String, _ rest: inout ArraySlice<String>) throws(Wrong) -> String {
        guard let value = rest.popFirst(), !value.isEmpty else { throw Wrong(description: "\(option) lacks its value") }
        return value
    }

    private static func kernel(
        _ option: String, _ rest: inout ArraySlice<String>
    ) throws(Wrong) -> PlayedKernel {
        let text = try value(of: option, &rest)
        guard let kernel = PlayedKernel(rawValue: text) else {
            throw Wrong(description: "\(option) \(text): 7.0 or 7.2 is wanted")
        }
        return kernel
    }

    private static func number(_ option: String, _ rest: inout ArraySlice<String>) throws(Wrong) -> Int {
        let text = try value(of: option, &rest)
        guard let number = Int(text), number > 0 else {
            throw Wrong(description: "\(option) \(text): a number above 0 is wanted")
        }
        return number
    }
}

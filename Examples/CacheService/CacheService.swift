// SPDX-License-Identifier: Apache-2.0
import CacheStore
import Glibc
import LiveUpdateDevice

/// A cache that answers requests on a Unix socket. luod holds its memory and its socket, so the service can end or be
/// killed at any time, and the next process continues.
///
///     CacheService SOCKET [--state DIR] [--base-pages]
///     CacheService load SOCKET
@main
enum CacheService {
    static func main() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        do {
            if arguments.first == "load", arguments.count == 2 {
                try Load.run(at: FilePath(arguments[1]))
            } else if let settings = Settings(arguments) {
                Signals.block()
                try Service(settings).run()
            } else {
                log("usage: CacheService SOCKET [--state DIR] [--base-pages] | load SOCKET")
                exit(64)
            }
        } catch {
            log("\(error)")
            exit(1)
        }
    }
}

/// The arguments of the program.
struct Settings {
    let socket: FilePath
    /// The state directory of luod; nil for that of the environment, or /run/luo.
    var state: FilePath?
    /// Whether the service puts its memory on huge pages.
    var huge = true

    init?(_ arguments: [String]) {
        guard let first = arguments.first, first.hasPrefix("/") else { return nil }
        socket = FilePath(first)
        var rest = arguments.dropFirst()
        while let option = rest.popFirst() {
            switch option {
            case "--state":
                guard let path = rest.popFirst(), !path.hasPrefix("--") else { return nil }
                state = FilePath(path)
            case "--base-pages": huge = false
            default: return nil
            }
        }
    }
}

/// Writes a line to standard error, from where a service manager takes it into its journal.
func log(_ text: String) {
    let line = "CacheService \(getpid()): \(text)\n"
    _ = unsafe write(STDERR_FILENO, line, line.utf8.count)
}

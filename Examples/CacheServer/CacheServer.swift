// SPDX-License-Identifier: Apache-2.0
import CacheStore
import Glibc
import LiveUpdate

/// A cache that answers requests on a Unix socket. On SIGHUP it updates itself, and its memory and its socket stay: it
/// hands over to a new process, or with `--in-place` it becomes the next image.
///
///     CacheServer SOCKET [--arena FILE] [--data FILE | --huge] [--in-place]
///     CacheServer ask SOCKET REQUEST
@main
enum CacheServer {
    static func main() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        do {
            if arguments.first == "ask", arguments.count == 3 {
                print(try ask(arguments[2], at: FilePath(arguments[1])))
            } else if let settings = Settings(arguments) {
                Signals.block()
                try Service(settings).run()
            } else {
                log("usage: CacheServer SOCKET [--arena FILE] [--data FILE | --huge] [--in-place] | ask SOCKET REQUEST")
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
    /// A file for the arena, which a process finds again after a crash; nil for an arena in memory.
    var arena: FilePath?
    /// A file on hugetlbfs for the data, which stays after a crash; nil for a memory file.
    var data: FilePath?
    /// Whether the memory file is on huge pages.
    var huge = false
    /// Whether the process becomes the next image itself in an update.
    var inPlace = false

    init?(_ arguments: [String]) {
        guard let first = arguments.first, first.hasPrefix("/") else { return nil }
        socket = FilePath(first)
        var rest = arguments.dropFirst()
        while let option = rest.popFirst() {
            switch option {
            case "--arena", "--data":
                guard let path = rest.popFirst(), !path.hasPrefix("--") else { return nil }
                if option == "--arena" { arena = FilePath(path) } else { data = FilePath(path) }
            case "--huge": huge = true
            case "--in-place": inPlace = true
            default: return nil
            }
        }
    }
}

/// Writes a line to standard error, from where a service manager takes it into its journal.
func log(_ text: String) {
    let line = "CacheServer \(getpid()): \(text)\n"
    _ = unsafe write(STDERR_FILENO, line, line.utf8.count)
}

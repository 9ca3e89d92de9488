import Glibc
import ListenerHandlers
import LiveUpdateEmbedded

/// A cache that answers on a Unix socket, and updates itself on SIGHUP: its memory and its socket stay.
///
///     CacheServer SOCKET [--arena FILE] [--data FILE | --huge]
///     CacheServer ask SOCKET REQUEST
@main
enum CacheServer {
    static func main() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        do {
            if arguments.first == "ask", arguments.count == 3 {
                print(try ask(arguments[2], at: arguments[1]))
            } else if let settings = Settings(arguments) {
                Signals.block()
                try Service(settings).run()
            } else {
                log("usage: CacheServer SOCKET [--arena FILE] [--data FILE | --huge] | ask SOCKET REQUEST")
                exit(64)
            }
        } catch {
            log("\(error)")
            exit(1)
        }
    }

    /// The client: one request, one answer.
    private static func ask(_ request: String, at path: String) throws -> String {
        guard let address = SocketAddress.unix(FilePath(path)) else { throw Errno.fileNameTooLong }
        let server = try connect(to: address)
        try server.borrowed.writeAll((request + "\n").utf8)
        return try server.borrowed.readLine()
    }
}

/// What it was told to do.
struct Settings {
    let socket: FilePath
    /// A file for the arena, to be found again after a crash; nil for one in memory.
    var arena: FilePath?
    /// A file on hugetlbfs for the data, which stays after a crash; nil for a memory file.
    var data: FilePath?
    /// Whether a memory file is to be on huge pages.
    var huge = false

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
            default: return nil
            }
        }
    }
}

/// A line on standard error, for the journal of whoever runs it.
func log(_ text: String) {
    let line = "CacheServer \(getpid()): \(text)\n"
    _ = unsafe write(STDERR_FILENO, line, line.utf8.count)
}

extension FileDescriptor {
    /// All bytes up to the end of the line, or of what the peer sends.
    func readLine() throws -> String {
        var line: [UInt8] = []
        var byte: UInt8 = 0
        while line.count < 4096 {
            let count = try unsafe withUnsafeMutableBytes(of: &byte) { try unsafe read(into: $0) }
            if count == 0 || byte == UInt8(ascii: "\n") { break }
            line.append(byte)
        }
        return String(decoding: line, as: UTF8.self)
    }
}

// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore

/// The descriptors that a process is started with, from number 3 on, in the protocol of sd_listen_fds(3): `LISTEN_FDS`
/// counts them, `LISTEN_FDNAMES` names them, and `LISTEN_PID` is the process that they are for.
struct PassedFiles: Equatable {
    private let process: CInt
    /// Their names, in the order of their numbers.
    private(set) var names: [String]

    /// Reads what a process was started with.
    ///
    /// - Parameters:
    ///   - process: the number of the process. Variables for another process mean nothing.
    ///   - limit: how many descriptors a process may have.
    ///   - variable: a variable of its environment.
    init(process: CInt, limit: Int, _ variable: (String) -> String?) {
        self.process = process
        guard variable("LISTEN_PID").flatMap({ CInt($0) }) == process,
            let count = variable("LISTEN_FDS").flatMap({ Int($0) }), 1...max(limit, 1) ~= count
        else {
            names = []
            return
        }
        let known = (variable("LISTEN_FDNAMES") ?? "").split(separator: ":", omittingEmptySubsequences: false)
        // A descriptor without a name is called so by sd_listen_fds_with_names(3).
        names = (0..<count).map { $0 < known.count && !known[$0].isEmpty ? String(known[$0]) : "unknown" }
    }

    /// The number of the next descriptor.
    var end: CInt { 3 + CInt(names.count) }

    /// The variables for a program that this process becomes.
    var variables: [(name: String, value: String)] {
        [
            ("LISTEN_PID", "\(process)"), ("LISTEN_FDS", "\(names.count)"),
            ("LISTEN_FDNAMES", names.joined(separator: ":")),
        ]
    }

    mutating func add(_ name: String) { names.append(name) }

    /// The name of a file: `session/token`; that of a session without a token. A byte of the session's name that is no
    /// printable ASCII, a colon, or a backslash is written as `\xNN`.
    static func name(_ session: SessionName, token: UInt64?) -> String {
        let text = session.bytes.map { byte in
            let isPlain = 0x20..<0x7f ~= byte && byte != UInt8(ascii: ":") && byte != UInt8(ascii: "\\")
            return isPlain
                ? String(UnicodeScalar(byte)) : "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }
        return text.joined() + (token.map { "/\($0)" } ?? "")
    }
}

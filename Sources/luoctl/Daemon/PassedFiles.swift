// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore

/// The descriptors that a process is started with, from number 3 on, in the protocol of sd_listen_fds(3): `LISTEN_FDS`
/// counts them, `LISTEN_FDNAMES` names them, and `LISTEN_PID` is the process that they are for.
struct PassedFiles: Equatable {
    private let process: CInt
    /// Their names, in the order of their numbers.
    private(set) var names: [String]

    /// Reads the variables of a process.
    ///
    /// - Parameters:
    ///   - process: the number of the process. Variables for another process mean nothing.
    ///   - limit: the number of descriptors that the process may have.
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
        // sd_listen_fds_with_names(3) gives this name to a descriptor without a name.
        names = (0..<count).map { $0 < known.count && !known[$0].isEmpty ? String(known[$0]) : "unknown" }
    }

    /// The number of the next descriptor.
    var end: CInt { 3 + CInt(names.count) }

    /// The variables for the program that this process becomes.
    var variables: [(name: String, value: String)] {
        [
            ("LISTEN_PID", "\(process)"), ("LISTEN_FDS", "\(names.count)"),
            ("LISTEN_FDNAMES", names.joined(separator: ":")),
        ]
    }

    mutating func add(_ name: String) { names.append(name) }

    /// The name of a file, `session/token`, or of a session, for a `token` of nil. A byte of the session's name that is
    /// a colon, a backslash or no printable ASCII is written as `\xNN`.
    static func name(_ session: SessionName, token: UInt64?) -> String {
        let text = session.bytes.map { byte in
            let isPlain = 0x20..<0x7f ~= byte && byte != UInt8(ascii: ":") && byte != UInt8(ascii: "\\")
            return isPlain
                ? String(UnicodeScalar(byte)) : "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }
        return text.joined() + (token.map { "/\($0)" } ?? "")
    }
}

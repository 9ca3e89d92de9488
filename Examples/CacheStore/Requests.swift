// SPDX-License-Identifier: Apache-2.0
import Glibc
import ListenerHandlers
package import LiveUpdateCore

// The protocol of the socket. Each request has a connection of its own; the request is one line, and so is the answer.

extension Cache {
    /// Serves the next client, if there is one.
    package func serveClient(of listener: FileDescriptor, info: () -> String) {
        // A client that went away in between is no error.
        guard let client = try? listener.acceptClient() else { return }
        // A client that sends nothing must not delay other clients or an update.
        var limit = timeval(tv_sec: 1, tv_usec: 0)
        unsafe setsockopt(
            client.borrowed.rawValue, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        guard let request = try? client.borrowed.readLine() else { return }
        _ = try? client.borrowed.writeAll((answer(request, info) + "\n").utf8)
    }

    private func answer(_ request: String, _ info: () -> String) -> String {
        let words = request.split(separator: " ", maxSplits: 2).map(String.init)
        switch (words.first, words.count) {
        case ("get", 2): return value(of: words[1]) ?? "(nothing)"
        case ("set", 3):
            do {
                try set(words[1], words[2])
                return "ok"
            } catch {
                return "error: \(error)"
            }
        case ("info", 1): return info()
        default: return "error: get KEY, set KEY VALUE, or info"
        }
    }
}

/// Sends one request as a client, and returns the answer.
package func ask(_ request: String, at path: FilePath) throws -> String {
    guard let address = SocketAddress.unix(path) else { throw Errno.fileNameTooLong }
    let server = try connect(to: address)
    try server.borrowed.writeAll((request + "\n").utf8)
    return try server.borrowed.readLine()
}

extension FileDescriptor {
    /// Reads the bytes up to the end of the line, or up to the end of the stream.
    fileprivate func readLine() throws -> String {
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

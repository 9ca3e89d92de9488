// SPDX-License-Identifier: Apache-2.0
import Glibc
import ListenerHandlers
import LiveUpdate

/// Two listening sockets that stay open over an update of this process. Clients connect right before the update, while
/// no process accepts, and the next boot serves them. The program exits with 0 when everything is as before, otherwise
/// with 1.
@main
enum KeepListening {
    static let path = FilePath("/tmp/keep-listening.\(getpid())")

    static func main() {
        do {
            let process = try UpdatableProcess { (luo) throws(LiveUpdateError) in
                try luo.registerListenerHandlers(backlog: 16)
            }
            if try process.orchestrator.status().updateNumber == 0 { try update(process) }
            try check(process.orchestrator)
        } catch {
            print("KeepListening: \(error)")
            exit(1)
        }
    }

    /// The first boot. It returns only by throwing.
    static func update(_ process: UpdatableProcess) throws -> Never {
        let session = try process.orchestrator.createSession("listeners")
        guard let name = SocketAddress.unix(path) else { throw Difference("\(path) is too long") }
        for (token, address) in [name, .loopback(port: 0)].enumerated() {
            let listener = try listen(at: address, backlog: 16)
            try session.preserve(listener.borrowed, token: UInt64(token))
            let client = try connect(to: listener.borrowed.socketAddress())
            try client.borrowed.writeAll("hello \(token)".utf8)
        }
        let next = ProgramImage(path: "/proc/self/exe", arguments: CommandLine.arguments)
        try process.reboot(into: next)
    }

    /// The next boot.
    static func check(_ luo: Orchestrator) throws {
        let session = try luo.retrieveSession("listeners")
        for token in session.tokens {
            let listener = try session.retrieve(token: token)
            let client = try listener.borrowed.acceptClient()
            let said = try text(client.borrowed)
            print("\(try listener.borrowed.socketAddress()): a client waited, and says \"\(said)\"")
            guard said == "hello \(token)" else { throw Difference("it had said \"hello \(token)\"") }
        }
        let network = try luo.withIncoming(Network()) { $0 }
        print("\(network.listeners) sockets came; \(network.backlogLimit) clients could have waited at each")
        guard network.listeners == 2 else { throw Difference("there were 2") }
        try session.finish()
        unsafe unlink(path.string)
    }

    static func text(_ client: FileDescriptor) throws -> String {
        var bytes = [UInt8](repeating: 0, count: 64)
        let count = try unsafe bytes.withUnsafeMutableBytes { try unsafe client.read(into: $0) }
        return String(decoding: bytes.prefix(count), as: UTF8.self)
    }
}

/// Something differs from the state before the update.
struct Difference: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

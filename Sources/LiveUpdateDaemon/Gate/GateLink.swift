// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// The gate's own requests to the orchestrator, one at a time, over a connection like a client's. It uses the socket
/// for root and luod's own user, so that a flood of clients cannot prevent programs from opening the device.
final class GateLink: Sendable {
    private static let mostConnections = 8

    private let state: StateDirectory
    private let lock = Lock()
    private nonisolated(unsafe) var connection: FileDescriptor?
    /// The cookies of sockets that are known to lead to luod.
    private let known: Guarded<Set<UInt64>> = Guarded([])

    init(_ state: StateDirectory) { self.state = state }

    /// Opens the device. `passOn` gives the descriptor to the caller. When the caller continues, no other process holds
    /// it.
    ///
    /// - Throws: the errno of the orchestrator's answer, and the errors of `passOn`.
    func openDevice(
        for user: UInt32, _ passOn: (FileDescriptor) throws(SystemCallError) -> CInt
    ) throws(SystemCallError) -> CInt {
        try ask(.openDevice, WordCall(user).body) { answered throws(SystemCallError) in
            guard let device = answered.descriptor else { throw SystemCallError("recvmsg", .tooManyOpenFiles) }
            remember(device)
            return try passOn(device)
        }
    }

    /// The role of a socket.
    ///
    /// - Throws: ENOENT when the socket does not lead to luod.
    func role(of cookie: UInt64) throws(SystemCallError) -> DescriptorRole {
        let body = try ask(.identify, FileCall(token: cookie).body) { answered throws(SystemCallError) in
            answered.response.body
        }
        guard body.count == Call.identify.length, let role = DescriptorRole(rawValue: FileCall(body).descriptor) else {
            throw SystemCallError("recvmsg", .ioError)
        }
        return role
    }

    /// Whether a socket is known to lead to luod.
    func knows(_ cookie: UInt64) -> Bool { known.with { $0.contains(cookie) } }

    /// Finds out whether a socket leads to luod.
    ///
    /// - Throws: the error of the request when there is no answer.
    func isOurs(_ cookie: UInt64) throws(SystemCallError) -> Bool {
        do throws(SystemCallError) {
            _ = try role(of: cookie)
        } catch {
            guard error.errno == .noSuchFileOrDirectory else { throw error }
            return false
        }
        remember(cookie)
        return true
    }

    func remember(_ socket: FileDescriptor) {
        if let cookie = try? socket.socketCookie() { remember(cookie) }
    }

    /// Remembers a socket, only to save requests. The set is emptied before it takes much room.
    private func remember(_ cookie: UInt64) {
        known.with { known in
            if known.count > 65536 { known = [] }
            known.insert(cookie)
        }
    }

    private func ask<Value>(
        _ call: Call, _ body: [UInt8], _ use: (ProtocolClient.Answer) throws(SystemCallError) -> Value
    ) throws(SystemCallError) -> Value {
        try lock.withLock { () throws(SystemCallError) in
            let request = Request(call, body: body, tag: .random(in: 1 ... .max))
            let (client, answer) = try answer(to: request)
            defer {
                answer.close()
                client.discard()
            }
            guard answer.response.result == 0 else {
                throw SystemCallError("recvmsg", Errno(rawValue: -answer.response.result))
            }
            return try use(answer)
        }
    }

    /// Sends a request and returns the answer. When an orchestrator dies before its keeper has the connection, the
    /// connection is lost without doing the request. The next orchestrator then gets the request on another connection.
    /// Many such deaths in a row are not expected.
    private func answer(to request: Request) throws(SystemCallError) -> (ProtocolClient, ProtocolClient.Answer) {
        for _ in 0..<Self.mostConnections {
            let client = ProtocolClient(try connected(), leavesAnswers: true)
            do throws(SystemCallError) {
                return (client, try client.answer(to: request) { client.socket.wait(for: $0) })
            } catch {
                guard error.errno == .socketNotConnected else { throw error }
                disconnect()
            }
        }
        throw SystemCallError("recvmsg", .operationNotSupportedByDevice)
    }

    private func connected() throws(SystemCallError) -> FileDescriptor {
        if let connection = unsafe connection { return connection }
        let made = try LuodSocket.connect(to: state.path).release()
        unsafe connection = made
        return made
    }

    private func disconnect() {
        if let old = unsafe connection { try? closeDescriptor(old) }
        unsafe connection = nil
    }
}

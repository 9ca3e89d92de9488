// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// A program's ioctl(2) on a descriptor of the device or of a session. The descriptor is a socket, and the ioctl
/// becomes a request on it.
struct DeviceControl {
    let call: GatedCall
    /// The caller's descriptor.
    let number: CInt
    let command: UInt32
    /// The address of the struct in the caller's memory.
    let address: UInt64

    private var gate: Gate { call.listener.gate }

    var outcome: GatedCall.Outcome {
        // luod's filter checks these bits, too, but the filter of another program may not.
        guard command & 0xFF00 == 0xBA00 else { return .foreign }
        if let result = call.recovered?.result { return result == 0 ? .value(0) : .failed(Errno(rawValue: result)) }
        let socket: FileDescriptor
        do throws(SystemCallError) {
            socket = try call.duplicate(number)
        } catch {
            let isAtLimit = [.tooManyOpenFiles, .tooManyOpenFilesInSystem].contains(error.errno)
            return isAtLimit ? .failed(error.errno) : .foreign
        }
        defer { try? closeDescriptor(socket) }
        do throws(SystemCallError) {
            return try outcome(on: socket)
        } catch {
            return .failed(error.errno)
        }
    }

    private func outcome(on socket: FileDescriptor) throws(SystemCallError) -> GatedCall.Outcome {
        guard let cookie = try? socket.socketCookie(), try isOurs(socket, cookie) else { return .foreign }
        guard isKnown else { return .failed(try refusal(of: [], cookie)) }
        let memory = StructInMemory(call.caller, command, address)
        guard let given = memory.whole else { return .failed(try refusal(of: memory.message, cookie)) }
        if call.recovered?.turn == cookie {
            try perform(given, socket)
        } else {
            try gate.turns.take(cookie, waits: call.letOthersReceive) { () throws(SystemCallError) in
                call.place.cookie = cookie
                try perform(given, socket)
            }
        }
        return .value(0)
    }

    private func isOurs(_ socket: FileDescriptor, _ cookie: UInt64) throws(SystemCallError) -> Bool {
        if gate.orchestrator.knows(cookie) { return true }
        guard socket.isMessageSocket else { return false }
        call.letOthersReceive()
        return try gate.orchestrator.isOurs(cookie)
    }

    /// Whether the emulated kernel has the call.
    private var isKnown: Bool {
        guard let kernel = gate.kernel else { return true }
        return Call(rawValue: UInt8(command & 0xFF)).map(kernel.has) ?? false
    }

    /// The error for an incomplete request. It depends on the role of the descriptor.
    private func refusal(of message: [UInt8], _ cookie: UInt64) throws(SystemCallError) -> Errno {
        call.letOthersReceive()
        let role = try gate.orchestrator.role(of: cookie)
        if role == .dead { return .operationNotSupportedByDevice }
        // The kernel's device first checks the number of a call, and does not know this number.
        if StructInMemory.isOnlyOnSocket(command) { return .invalidArgument }
        do throws(Malformed) {
            _ = try RequestDecoder(isOnSession: role != .device, isOutgoing: role == .outgoing).request(message)
            return .invalidArgument
        } catch {
            return Errno(rawValue: -error.result)
        }
    }

    /// Performs the request, in this order:
    ///
    /// 1. Send the request with the unchanged descriptor of the caller.
    /// 2. Check that the answer can be written to the caller's memory, before its descriptor is given.
    /// 3. Give the caller the descriptor, and write its number.
    ///
    /// This process holds no copy of these descriptors when the caller continues: the caller's next close is the last.
    private func perform(_ given: StructInMemory.Whole, _ socket: FileDescriptor) throws(SystemCallError) {
        let isRepeated = call.recovered?.hasRequest == true
        if !isRepeated { call.place.tag = gate.newTag }
        let client = ProtocolClient(socket, leavesAnswers: true)
        let request = Request(given.call, body: given.body, tag: call.place.tag)
        var memory: OtherMemory?
        let answered = try ask(client, request, isRepeated) { () throws(SystemCallError) in
            // The orchestrator works meanwhile.
            if given.call.answersInStruct && memory == nil { memory = try callersMemory() }
        }
        defer {
            answered.close()
            client.discard()
        }
        do throws(SystemCallError) {
            try passOn(answered, given, memory)
        } catch {
            call.place.result = error.errno.rawValue
            throw error
        }
        // The result is stored before the answer is taken out of the queue. A gate that recovers this call then only
        // repeats the result.
        call.place.result = 0
    }

    /// Opens the caller's memory first, and then checks that the caller still waits. If it does, the memory is the
    /// caller's, although another process may get the same number later.
    private func callersMemory() throws(SystemCallError) -> OtherMemory {
        let memory = try OtherMemory(of: call.caller)
        guard call.isWaiting else { throw SystemCallError("ioctl", .interrupted) }
        return memory
    }

    private func passOn(
        _ answered: ProtocolClient.Answer, _ given: StructInMemory.Whole, _ memory: OtherMemory?
    ) throws(SystemCallError) {
        guard answered.response.result == 0 else {
            throw SystemCallError("ioctl", Errno(rawValue: -answered.response.result))
        }
        var reply = answered.response.body
        // Another process with the same socket may have made another request with the same tag.
        guard reply.count == given.body.count else { throw SystemCallError("recvmsg", .ioError) }
        // A struct without an answer is not written.
        guard given.call.answersInStruct else { return }
        let memory = if let memory { memory } else { try callersMemory() }
        guard given.call.bringsDescriptor else { return try memory.write(given.answer(reply), at: given.address) }
        try memory.checkWritable(at: given.address, count: reply.count)
        let number: CInt
        if let before = call.given {
            number = before
        } else {
            guard let descriptor = answered.descriptor else {
                throw SystemCallError("recvmsg", .tooManyOpenFiles)
            }
            if given.call.bringsSession { gate.orchestrator.remember(descriptor) }
            number = try call.give(descriptor, closedOnExec: true)
        }
        reply.replaceSubrange(4..<8, with: StructInMemory.bytes(UInt32(bitPattern: number)))
        try memory.write(given.answer(reply), at: given.address)
    }

    /// - Throws: ENODEV when no orchestrator holds the other end of the socket any more.
    private func ask(
        _ client: ProtocolClient, _ request: Request, _ isRepeated: Bool,
        meanwhile: () throws(SystemCallError) -> Void
    ) throws(SystemCallError) -> ProtocolClient.Answer {
        func answer(about file: FileDescriptor?) throws(SystemCallError) -> ProtocolClient.Answer {
            // If the caller still waits, everything that was read before came from the caller.
            guard call.isWaiting else { throw SystemCallError("ioctl", .interrupted) }
            do throws(SystemCallError) {
                return try client.answer(to: request, about: file, isRepeated: isRepeated) {
                    (awaited) throws(SystemCallError) in
                    if awaited == .answer { try meanwhile() }
                    try call.wait(for: awaited, on: client.socket)
                }
            } catch {
                guard error.errno == .socketNotConnected else { throw error }
                throw SystemCallError("recvmsg", .operationNotSupportedByDevice)
            }
        }
        guard request.call.takesDescriptor else { return try answer(about: nil) }
        let file: FileDescriptor
        do throws(SystemCallError) {
            file = try call.duplicate(FileCall(request.body).descriptor)
        } catch {
            // For a descriptor that is not open, luod refuses the request after its other checks.
            guard error.errno == .badFileDescriptor else { throw error }
            return try answer(about: nil)
        }
        defer { try? closeDescriptor(file) }
        return try answer(about: file.isOnlyPath ? nil : file)
    }
}

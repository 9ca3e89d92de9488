import LiveUpdateProtocol
import Platform
import SystemPackage

/// A request on a socket of luod's, and its answer, which stays in the queue until it is let go of: so that it is still there
/// when this process dies.
struct Exchange {
    /// Not closed by this.
    let socket: FileDescriptor
    let request: Request

    /// What was answered.
    struct Answered {
        let response: Response
        /// A copy of what came with it: the asker's.
        let descriptor: FileDescriptor?

        func close() { if let descriptor { try? closeDescriptor(descriptor) } }
    }

    /// What a request waits for.
    enum Awaited {
        case room, answer
    }

    /// Asks, and waits for the answer. Answers to others, which one that died may have left, are dropped.
    ///
    /// - Parameters:
    ///   - isRepeated: it may have been asked, and even answered, before.
    ///   - wait: waits for it on the socket, or for a while.
    /// - Throws: ENODEV when there is nobody to answer any more; EMFILE; what `wait` throws.
    func answer(
        passing file: FileDescriptor?, isRepeated: Bool, wait: (Awaited) throws(SystemCallError) -> Void
    ) throws(SystemCallError) -> Answered {
        if isRepeated, let answered = try answerThatIsThere() { return answered }
        try send(file, wait)
        while true {
            try wait(.answer)
            if let answered = try answerThatIsThere() { return answered }
        }
    }

    private func answerThatIsThere() throws(SystemCallError) -> Answered? {
        while let message = try peek() {
            if let answered = try take(message) { return answered }
            drop(message)
        }
        return nil
    }

    /// After what the answer brought has been passed on.
    func letGo() { try? socket.discardMessage() }

    private func send(_ file: FileDescriptor?, _ wait: (Awaited) throws(SystemCallError) -> Void)
        throws(SystemCallError)
    {
        while true {
            do throws(SystemCallError) {
                return try socket.send(request.bytes, file.map { [$0] } ?? [])
            } catch {
                switch error.errno {
                case .resourceTemporarilyUnavailable, .tooManyReferences: try wait(.room)
                case .brokenPipe, .connectionReset, .socketNotConnected:
                    throw SystemCallError("sendmsg", .operationNotSupportedByDevice)
                default: throw error
                }
            }
        }
    }

    /// - Returns: nil when none is there.
    /// - Throws: ENODEV at the end.
    private func peek() throws(SystemCallError) -> ReceivedMessage? {
        while true {
            do throws(SystemCallError) {
                if let message = try socket.receive(.peeking) { return message }
                throw SystemCallError("recvmsg", .operationNotSupportedByDevice)
            } catch {
                switch error.errno {
                case .resourceTemporarilyUnavailable: return nil
                case .connectionReset: continue
                default: throw error
                }
            }
        }
    }

    private func take(_ message: ReceivedMessage) throws(SystemCallError) -> Answered? {
        guard let response = Response(message.bytes, tagged: true), response.tag == request.tag else { return nil }
        guard !message.isTruncated, message.descriptors.count <= 1 else {
            drop(message)
            throw SystemCallError("recvmsg", .tooManyOpenFiles)
        }
        return Answered(response: response, descriptor: message.descriptors.first)
    }

    private func drop(_ message: ReceivedMessage) {
        message.close()
        letGo()
    }
}

extension FileDescriptor {
    /// Waits for the other end of a socket.
    ///
    /// - Parameter milliseconds: at most; -1 waits for ever.
    /// - Returns: whether it came to something.
    @discardableResult
    func wait(for awaited: Exchange.Awaited, within milliseconds: CInt = -1) -> Bool {
        switch awaited {
        case .room: hasRoom(within: milliseconds)
        case .answer: isReadable(within: milliseconds)
        }
    }
}

import LiveUpdate
import LiveUpdateProtocol
import Platform
import SystemPackage

/// On what calls are made: a socket of `luod`, or a descriptor of the kernel's device. A session is one of its own.
protocol Channel: Sendable {
    /// The descriptor that calls are made on.
    var descriptor: FileDescriptor { get }

    /// Makes a call and waits for its answer.
    ///
    /// - Parameter file: the descriptor that it is about.
    /// - Throws: when no answer came: the answer itself may say that it failed.
    func answer(to call: Call, _ body: [UInt8], about file: FileDescriptor?) throws(SystemCallError) -> CallAnswer

    /// The same, on a session that the answer to a call brought.
    func session(_ descriptor: consuming OwnedDescriptor) -> any Channel

    /// The error of a call that was not answered in time; nil for a channel that waits for ever.
    func unanswered(_ subject: String) -> LiveUpdateError?
}

/// The answer to a call.
struct CallAnswer {
    /// The party that answered a call with a failure, which decides on the words of the error.
    enum Answerer {
        /// luod, with its reason; nil from a luod that said none.
        case luod(ReasonText?)
        /// luod, which refused the connection.
        case refusingLuod
        /// The device of the kernel.
        case kernel
    }

    /// Nil when the call worked.
    var failure: Errno?
    /// The party that answered.
    var answerer: Answerer
    /// The struct.
    var body: [UInt8]
    /// The text behind the tag of luod's answer.
    var text: [UInt8] = []
    /// The descriptor that came with the answer: the receiver closes it.
    var descriptor: FileDescriptor?

    /// The error of an answer that is a failure.
    func error(_ failure: CallFailure, saying text: String = "") -> LiveUpdateError {
        switch answerer {
        case .luod(let reason): failure.error(reason, saying: text)
        case .refusingLuod: failure.refused
        case .kernel: failure.ofKernel
        }
    }

    /// Closes the descriptor of an answer that is not used.
    func close() {
        if let descriptor { try? closeDescriptor(descriptor) }
    }
}

extension Channel {
    /// Makes a call that brings no descriptor.
    ///
    /// - Returns: the struct of the answer.
    @discardableResult
    func make(
        _ call: Call, _ body: [UInt8], about file: FileDescriptor? = nil, of subject: String
    ) throws(LiveUpdateError) -> [UInt8] {
        let answer = try worked(call, body, about: file, of: subject)
        guard answer.descriptor == nil else {
            answer.close()
            throw CallFailure.unexpected(call, subject)
        }
        return answer.body
    }

    /// Makes a call that brings a descriptor.
    func descriptor(
        from call: Call, _ body: [UInt8], of subject: String
    ) throws(LiveUpdateError) -> OwnedDescriptor {
        guard let descriptor = try worked(call, body, about: nil, of: subject).descriptor else {
            throw CallFailure.unexpected(call, subject)
        }
        return OwnedDescriptor(taking: descriptor)
    }

    /// Makes a call, and throws when its answer is a failure.
    func worked(
        _ call: Call, _ body: [UInt8], about file: FileDescriptor?, of subject: String
    ) throws(LiveUpdateError) -> CallAnswer {
        let answer = try any(call, body, about: file, of: subject)
        guard let failure = answer.failure else { return answer }
        answer.close()
        throw answer.error(CallFailure(call, failure, subject))
    }

    /// Makes a call with an answer that explains itself in words (``UpdateCall``).
    ///
    /// - Throws: the errno of the answer, with its words as the reason if it has any.
    func explained(_ call: Call, _ request: UpdateCall, of subject: String) throws(LiveUpdateError) -> UpdateCall {
        let answer = try any(call, request.body, about: nil, of: subject)
        answer.close()
        let came = answer.body.count == call.length ? UpdateCall(answer.body) : nil
        if let failure = answer.failure {
            throw answer.error(CallFailure(call, failure, subject), saying: came?.text ?? "")
        }
        guard let came, answer.descriptor == nil else { throw CallFailure.unexpected(call, subject) }
        return came
    }

    /// Makes a call, and returns its answer, also when that is a failure.
    private func any(
        _ call: Call, _ body: [UInt8], about file: FileDescriptor?, of subject: String
    ) throws(LiveUpdateError) -> CallAnswer {
        do throws(SystemCallError) {
            return try answer(to: call, body, about: file)
        } catch {
            if error.errno == .timedOut, let unanswered = unanswered(subject) { throw unanswered }
            throw CallFailure(call, error.errno, subject).withoutAnswer(error)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// A descriptor for calls: a socket of luod, or a descriptor of the kernel's device. Each session has one of its own.
protocol Channel: Sendable {
    /// The descriptor that calls are made on.
    var descriptor: FileDescriptor { get }

    /// Makes a call and waits for its answer. `file` is the descriptor that the call is about.
    ///
    /// - Throws: the error when no answer came. An answer can itself be a failure.
    func answer(to call: Call, _ body: [UInt8], about file: FileDescriptor?) throws(SystemCallError) -> CallAnswer

    /// Takes the next notice of luod on this descriptor, and waits for it.
    ///
    /// - Parameter milliseconds: the longest wait; nil waits for ever.
    /// - Returns: nil when none came in time.
    /// - Throws: ENOTTY on a descriptor without notices; ENOTCONN when luod has ended.
    func notice(within milliseconds: UInt64?) throws(SystemCallError) -> UpdateNotice?

    /// A channel for the session in an answer.
    func session(_ descriptor: consuming OwnedDescriptor) -> any Channel

    /// The error of a call that was not answered in time; nil for a channel that waits for ever.
    func unanswered(_ subject: String) -> LiveUpdateError?
}

/// The answer to a call.
struct CallAnswer {
    /// The party that answered a call with a failure. The text of the error depends on it.
    enum Answerer {
        /// luod, with its reason; nil when luod gave none.
        case luod(ReasonText?)
        /// luod, when it refused the connection.
        case refusingLuod
        /// The kernel's device.
        case kernel
    }

    /// The errno of a failed call; nil when it worked.
    var failure: Errno?
    /// The party that answered the call.
    var answerer: Answerer
    /// The struct of the answer.
    var body: [UInt8]
    /// The text after the tag in luod's answer.
    var text: [UInt8] = []
    /// The descriptor in the answer. The receiver must close it.
    var descriptor: FileDescriptor?

    /// The error of an answer that is a failure.
    func error(_ failure: CallFailure, saying text: String = "") -> LiveUpdateError {
        switch answerer {
        case .luod(let reason): failure.error(reason, saying: text)
        case .refusingLuod: failure.refused
        case .kernel: failure.ofKernel
        }
    }

    /// Closes the descriptor of an unused answer.
    func close() {
        if let descriptor { try? closeDescriptor(descriptor) }
    }
}

extension Channel {
    func notice(within milliseconds: UInt64?) throws(SystemCallError) -> UpdateNotice? {
        throw SystemCallError("ioctl", .inappropriateIOCTLForDevice)
    }

    /// Makes a call that returns no descriptor.
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

    /// Makes a call that returns a descriptor.
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

    /// Makes a call with an answer that explains itself as text (``UpdateCall``).
    ///
    /// - Throws: the errno of the answer, with its text as the reason if it has any.
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

    /// Makes a call, and returns its answer even if that is a failure.
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

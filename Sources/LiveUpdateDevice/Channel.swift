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
    static func session(_ descriptor: consuming OwnedDescriptor) -> any Channel
}

/// What a call was answered with.
struct CallAnswer {
    /// Nil when it worked.
    var failure: Errno?
    /// The struct.
    var body: [UInt8]
    /// What came with it: the receiver's.
    var descriptor: FileDescriptor?
}

extension Channel {
    /// Makes a call that is to work.
    func make(
        _ call: Call, _ body: [UInt8], about file: FileDescriptor? = nil, of subject: String
    ) throws(LiveUpdateError) -> CallAnswer {
        let answer: CallAnswer
        do throws(SystemCallError) {
            answer = try self.answer(to: call, body, about: file)
        } catch {
            throw CallFailure(call, error.errno, subject).withoutAnswer(error)
        }
        guard let failure = answer.failure else { return answer }
        if let descriptor = answer.descriptor { try? closeDescriptor(descriptor) }
        throw CallFailure(call, failure, subject).error
    }

    /// Makes a call that brings a descriptor.
    func descriptor(
        from call: Call, _ body: [UInt8], of subject: String
    ) throws(LiveUpdateError) -> OwnedDescriptor {
        guard let descriptor = try make(call, body, of: subject).descriptor else {
            throw LiveUpdateError(.tooManyOpenFiles, "\(subject): its descriptor did not arrive")
        }
        return OwnedDescriptor(taking: descriptor)
    }
}

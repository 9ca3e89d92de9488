import Glibc
import LiveUpdate
import LiveUpdateProtocol
import Platform
import SystemPackage

/// One call of a program that waits for its answer.
final class GatedCall {
    let notification: CallNotification
    let place: CallPlace
    let program: GatedProgram
    /// A gate before this one has taken it, and may have done a part.
    let isLeft: Bool
    /// Of the last caller: mostly the same one.
    private let handle: KeptHandle
    private(set) var hasLetOthersReceive = false

    init(
        _ notification: CallNotification, _ place: CallPlace, _ program: GatedProgram, isLeft: Bool,
        _ handle: KeptHandle = KeptHandle()
    ) {
        self.handle = handle
        self.notification = notification
        self.place = place
        self.program = program
        self.isLeft = isLeft
    }

    /// What a call comes to.
    enum Outcome {
        /// Not ours: the kernel does it.
        case foreign
        case value(Int64)
        case failed(Errno)
    }

    var caller: OtherThread { OtherThread(notification.thread) }

    /// Answers it. Who has gone meanwhile is not answered, and who was killed in the middle is not noticed.
    func answer() {
        let listener = program.listener
        // What is left may have been answered, just before.
        if isLeft && !isWaiting { return }
        switch outcome {
        case .foreign: try? listener.letContinue(notification.id)
        case .value(let value): try? listener.answer(notification.id, .success(value))
        case .failed(let errno): try? listener.answer(notification.id, .failure(errno))
        }
    }

    private var outcome: Outcome {
        let arguments = notification.arguments
        guard notification.thread != 0 else { return .foreign }
        switch notification.call {
        case .other: return .foreign
        case .open:
            return open(arguments[0], CInt(truncatingIfNeeded: arguments[1]), at: workingDirectoryNumber)
        case .creat: return open(arguments[0], O_CREAT | O_WRONLY | O_TRUNC, at: workingDirectoryNumber)
        case .openat:
            return open(
                arguments[1], CInt(truncatingIfNeeded: arguments[2]), at: CInt(truncatingIfNeeded: arguments[0]))
        case .openat2: return openAsSaid(arguments)
        case .ioctl:
            return control(
                CInt(truncatingIfNeeded: arguments[0]), UInt32(truncatingIfNeeded: arguments[1]), arguments[2])
        }
    }

    /// Before what may take longer.
    func letOthersReceive() {
        guard !isLeft, !hasLetOthersReceive else { return }
        hasLetOthersReceive = program.letOthersReceive()
    }

    /// Waits for the other end of a socket. Others receive from when there is something to receive.
    ///
    /// - Throws: EINTR when the caller has gone: what it asked for is whoever's who asks next, who takes no notice of
    ///   it.
    func wait(for awaited: ProtocolClient.Awaited, on socket: FileDescriptor) throws(SystemCallError) {
        let isReceiver = !isLeft && !hasLetOthersReceive
        switch awaited {
        case .answer where isReceiver:
            switch program.listener.waitForCall(or: socket) {
            case .message: return
            case .call: letOthersReceive()
            // The caller was killed, and was the last one.
            case nil: break
            }
        case .answer: break
        case .room, .resources: letOthersReceive()
        }
        if awaited == .resources {
            socket.wait(for: awaited)
            guard isWaiting else { throw SystemCallError("ioctl", .interrupted) }
            return
        }
        // The socket is the caller's, too, and others' to whom it was given: they may read the answer, and it never
        // comes.
        while !socket.wait(for: awaited, within: 1000) {
            guard isWaiting else { throw SystemCallError("ioctl", .interrupted) }
        }
    }

    /// A descriptor of ours of what the caller has.
    func duplicate(_ number: CInt) throws(SystemCallError) -> FileDescriptor {
        try caller.duplicate(number, keeping: handle).release()
    }

    /// Whether whoever calls is there, so that the number of its thread has meant no other until now.
    var isWaiting: Bool { program.listener.isWaiting(notification.id) }

    /// What a gate before this one has given the caller for this call.
    var givenBefore: CInt? {
        if let given = place.given { return given }
        return isLeft && place.socket != 0 ? caller.number(ofSocket: place.socket) : nil
    }

    /// Gives the caller a descriptor.
    func give(_ descriptor: FileDescriptor, closedOnExec: Bool) throws(SystemCallError) -> CInt {
        let status = try FileStatus(cached: descriptor)
        place.socket = status.type == .socket ? status.identity.inode : 0
        let number = try program.listener.give(descriptor, to: notification.id, closedOnExec: closedOnExec)
        place.given = number
        return number
    }
}

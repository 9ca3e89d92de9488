// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// A call of a program that waits for its answer: a live one, or a recovered one (``RecoveredCall``).
final class GatedCall {
    let notification: CallNotification
    let place: CallPlace
    let listener: ProgramListener
    /// The recovered call; nil for a live call.
    let recovered: RecoveredCall?
    /// A handle of the last caller. The next caller is usually the same.
    private let handle: KeptHandle
    /// Whether the thread of this call has let another thread receive.
    private(set) var hasLetOthersReceive = false

    init(
        _ notification: CallNotification, _ place: CallPlace, _ listener: ProgramListener,
        _ handle: KeptHandle = KeptHandle(), recovered: RecoveredCall? = nil
    ) {
        self.notification = notification
        self.place = place
        self.listener = listener
        self.handle = handle
        self.recovered = recovered
    }

    /// The result of a call.
    enum Outcome {
        /// The call is not about the device: the kernel does it.
        case foreign
        case value(Int64)
        case failed(Errno)
    }

    var caller: OtherThread { OtherThread(notification.thread) }

    /// Whether the caller still waits. If it does, its thread number has not been reused.
    var isWaiting: Bool { listener.descriptor.isWaiting(notification.id) }

    // MARK: Answering

    /// Answers the call. This does nothing if the caller has gone, and does not report a caller that is killed
    /// meanwhile.
    func answer() {
        // The gate before this one may have answered a recovered call just before it died.
        if recovered != nil && !isWaiting { return }
        let listener = listener.descriptor
        switch outcome {
        case .foreign: try? listener.letContinue(notification.id)
        case .value(let value): try? listener.answer(notification.id, .success(value))
        case .failed(let errno): try? listener.answer(notification.id, .failure(errno))
        }
    }

    private var outcome: Outcome {
        let arguments = notification.arguments
        guard notification.thread != 0 else { return .foreign }
        let open = DeviceOpen(call: self)
        switch notification.call {
        case .other: return .foreign
        case .open:
            return open.outcome(arguments[0], CInt(truncatingIfNeeded: arguments[1]), at: workingDirectoryNumber)
        case .creat: return open.outcome(arguments[0], O_CREAT | O_WRONLY | O_TRUNC, at: workingDirectoryNumber)
        case .openat:
            return open.outcome(
                arguments[1], CInt(truncatingIfNeeded: arguments[2]), at: CInt(truncatingIfNeeded: arguments[0]))
        case .openat2: return open.outcome(ofStruct: arguments)
        case .ioctl:
            return DeviceControl(
                call: self, number: CInt(truncatingIfNeeded: arguments[0]),
                command: UInt32(truncatingIfNeeded: arguments[1]), address: arguments[2]
            ).outcome
        }
    }

    // MARK: Waiting

    /// Lets another thread receive calls, before work that may take longer. The thread of a recovered call does not
    /// receive yet.
    func letOthersReceive() {
        guard recovered == nil, !hasLetOthersReceive else { return }
        hasLetOthersReceive = listener.letOthersReceive()
    }

    /// Waits for an event on a socket. If a call arrives meanwhile, another thread receives it.
    ///
    /// - Throws: EINTR when the caller has gone. The next caller on the socket drops the answer.
    func wait(for awaited: ProtocolClient.Awaited, on socket: FileDescriptor) throws(SystemCallError) {
        switch awaited {
        case .answer:
            if recovered == nil && !hasLetOthersReceive {
                switch listener.descriptor.waitForCall(or: socket) {
                case .message: return
                case .call: letOthersReceive()
                // The caller was killed, and was the last process under the filter.
                case nil: break
                }
            }
        case .room: letOthersReceive()
        case .resources:
            letOthersReceive()
            socket.wait(for: .resources)
            guard isWaiting else { throw SystemCallError("ioctl", .interrupted) }
            return
        }
        // Another process may hold the socket, too, and read the answer, so that it never arrives here.
        while !socket.wait(for: awaited, within: 1000) {
            guard isWaiting else { throw SystemCallError("ioctl", .interrupted) }
        }
    }

    // MARK: Descriptors of the caller

    /// A descriptor of this process for the same open file as a descriptor of the caller. The caller of this function
    /// closes it.
    func duplicate(_ number: CInt) throws(SystemCallError) -> FileDescriptor {
        try caller.duplicate(number, keeping: handle).release()
    }

    /// The number of the descriptor that the caller received for this call; nil if it received none.
    var given: CInt? { recovered?.given(to: caller) }

    /// Gives the caller a descriptor.
    ///
    /// - Returns: the number of the descriptor in the caller.
    func give(_ descriptor: FileDescriptor, closedOnExec: Bool) throws(SystemCallError) -> CInt {
        let status = try FileStatus(cached: descriptor)
        place.socket = status.type == .socket ? status.identity.inode : 0
        let number = try listener.descriptor.give(descriptor, to: notification.id, closedOnExec: closedOnExec)
        place.given = number
        return number
    }
}

// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdateMachine
import LiveUpdatePlatform
import SystemPackage

/// The next image of a hand-over in the old process: the image's process, and the link to it.
final class StartedImage {
    /// The number of the image's process.
    let id: CInt
    private let process: RunningProcess
    private let link: ProcessLink
    private let descriptors: InheritedDescriptors
    /// Whether the image has got all held descriptors once.
    private var wasFed = false

    /// Starts an image, and sends it the arena.
    ///
    /// - Throws: ENOENT, EACCES and the other errors of execve(2); EMFILE, EAGAIN, ENOMEM; ENOSYS before Linux 5.3.
    init(
        _ image: ProgramImage, arena: FileDescriptor, _ descriptors: InheritedDescriptors
    ) throws(SystemCallError) {
        let (ours, theirs) = try MessageSocket.pair()
        link = ProcessLink(OwnedDescriptor(taking: ours))
        let theirEnd = OwnedDescriptor(taking: theirs)
        self.descriptors = descriptors
        descriptors.beginSending()
        // The descriptor has the same number in the image. No inherited descriptor has this number, because it is in
        // use in this process.
        id = try image.setting(WaitingImage.variable, "\(theirs.rawValue)").setting(UpdatableProcess.variable, nil)
            // Without a number, systemd's watchdog is for any process of the service: sd_watchdog_enabled(3).
            .setting("WATCHDOG_PID", nil)
            .spawn(theirEnd.borrowed, as: theirs.rawValue)
        process = try Self.find(id)
        do throws(SystemCallError) {
            try link.send(ImageMessage.greeting.bytes, [arena])
        } catch {
            // If the process has already died, that is an event of its own.
            guard error.errno != .brokenPipe else { return }
            self.end()
            throw error
        }
    }

    /// - Throws: EMFILE, ENOSYS before Linux 5.3. The process is ended then.
    private static func find(_ id: CInt) throws(SystemCallError) -> RunningProcess {
        do throws(SystemCallError) {
            return try RunningProcess(id)
        } catch {
            kill(id, SIGKILL)
            _ = waitpid(id, nil, 0)
            throw error
        }
    }

    /// Readable when the image has sent something or has ended.
    var descriptor: FileDescriptor { link.descriptor }

    /// Readable when the process has ended. A child of the process may keep the link open.
    var ending: FileDescriptor { process.descriptor }

    /// Whether the process has ended.
    var hasEnded: Bool { ending.isReadable(within: 0) }

    /// Sends a message.
    ///
    /// - Throws: as ``ProcessLink/send(_:_:patience:inShortage:)``.
    func send(_ message: UpdateMessage, _ descriptors: [FileDescriptor] = []) throws(SystemCallError) {
        try link.send(message.bytes, descriptors)
    }

    /// Sends copies of the held descriptors in these slots, except those that the image already has.
    ///
    /// - Throws: as ``ProcessLink/send(_:_:patience:inShortage:)``.
    func feed(_ slots: [DescriptorSlot]) throws(SystemCallError) {
        var rest = descriptors.takeUnsent(slots)[...]
        if rest.isEmpty, wasFed { return }
        wasFed = true
        while !rest.isEmpty {
            let batch = rest.prefix(MessageSocket.mostDescriptors)
            rest = rest.dropFirst(batch.count)
            try send(batch)
        }
        try link.send(ImageMessage.told.bytes)
    }

    private func send(_ slots: ArraySlice<DescriptorSlot>) throws(SystemCallError) {
        do throws(SystemCallError) {
            try link.send(ImageMessage.hold([DescriptorSlot](slots)).bytes, slots.compactMap(descriptors.descriptor))
        } catch {
            // Another thread has unpreserved one of the files meanwhile, so each descriptor is sent in its own message.
            guard error.errno == .badFileDescriptor, slots.count > 1 else {
                if error.errno == .badFileDescriptor { return }
                throw error
            }
            for slot in slots { try send([slot]) }
        }
    }

    /// A message of the image.
    enum Received: Equatable {
        case message(ImageMessage)
        /// A message that this version does not have.
        case unknown
        case ended
    }

    /// The next message; nil when there is none now.
    func receive() -> Received? {
        do throws(SystemCallError) {
            guard let received = try link.receive(.now) else { return .ended }
            received.close()
            return ImageMessage(received.bytes).map(Received.message) ?? .unknown
        } catch {
            return nil
        }
    }

    /// Ends the process if it still runs, and waits for its end. The process changes nothing afterwards.
    ///
    /// - Parameter patience: how many milliseconds the process has to end by itself.
    /// - Returns: how the process ended, as text.
    @discardableResult
    func end(patience: CInt = 0) -> String {
        let endsByItself = process.waitForEnd(patience)
        if !endsByItself {
            process.kill()
            process.waitForEnd()
        }
        descriptors.endSending()
        var status: CInt = 0
        while unsafe waitpid(id, &status, 0) == -1 {
            // The program may wait for all its children itself.
            guard errno == EINTR else { return "its exit code is not known" }
        }
        if !endsByItself { return "it closed the link, and was killed" }
        let signal = status & 0x7F
        return signal == 0 ? "exit code \((status >> 8) & 0xFF)" : "signal \(signal)"
    }
}

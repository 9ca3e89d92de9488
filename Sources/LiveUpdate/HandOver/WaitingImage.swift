// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdateMachine
import LiveUpdatePlatform
import SystemPackage

/// The image's side of a hand-over: performs the actions that ``IncomingUpdate`` decides, and reports their results to
/// it.
///
/// 1. The image gets the arena and copies of the held descriptors, and prepares itself, for as long as its program
///    needs.
/// 2. The program says that it is ready. The image reads a draft of the state, and then the state, and begins the boot.
///
/// Unhappy: an image that is not wanted any more, or cannot begin the boot, ends and has changed nothing. If the old
/// process dies, the image goes on alone with the descriptors that it has.
struct WaitingImage: Sendable {
    /// The variable that names the descriptor of the link.
    static let variable = "LUO_HAND_OVER_FD"

    let arena: Arena
    private let link: ProcessLink
    private let old: OldProcess
    private let descriptors: InheritedDescriptors
    private var formats: [String] = []
    private var machine = IncomingUpdate(goesOnAlone: true)
    /// The place of the last draft.
    private var draft: Extent?
    private var baton: CommitBaton?

    /// A descriptor of the old process, which can be shared.
    private final class OldProcess: Sendable {
        /// nil when the process has ended before the descriptor was made.
        private let process: RunningProcess?
        /// Readable when the process has ended.
        private let ending: FileDescriptor?

        /// - Throws: EMFILE, ENOSYS before Linux 5.3.
        init(_ id: CInt) throws(SystemCallError) {
            do throws(SystemCallError) {
                let found = try RunningProcess(id)
                ending = found.descriptor
                process = consume found
            } catch {
                guard error.errno == .noSuchProcess else { throw error }
                process = nil
                ending = nil
            }
        }

        /// Whether the process has ended. A program that ends closes the link a little earlier.
        var hasEnded: Bool { process?.waitForEnd(5000) ?? true }

        /// Waits until the link is readable or the process has ended. A child of the process may keep the link open.
        func wait(for link: FileDescriptor) {
            // A negative number is no descriptor, and has no events.
            var events = [link.rawValue, ending?.rawValue ?? -1].map {
                pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
            }
            while unsafe poll(&events, nfds_t(events.count), -1) == -1, errno == EINTR {}
        }
    }

    /// Finds the link to the old process in the environment; nil when this image was not started for a hand-over.
    ///
    /// - Throws: EBADF when the variable names no link.
    static func inheritedLink() throws(LiveUpdateError) -> ProcessLink? {
        guard let value = takeEnvironmentVariable(variable) else { return nil }
        guard let number = CInt(value), number > 2, FileDescriptor(rawValue: number).isMessageSocket else {
            throw LiveUpdateError(
                .badFileDescriptor, "\(variable)=\(value) is no link to another process",
                remedy: "leave the variable unset; UpdatableProcess sets it for the image that it starts")
        }
        let link = ProcessLink(OwnedDescriptor(taking: FileDescriptor(rawValue: number)))
        try? link.descriptor.setCloseOnExec(true)
        return link
    }

    /// Exchanges versions with the old process, and gets the arena. If the old process has another version, this
    /// process ends.
    ///
    /// - Throws: EIO when the arena cannot be read.
    init(
        _ link: ProcessLink, _ options: Arena.Options, _ descriptors: InheritedDescriptors
    ) throws(LiveUpdateError) {
        self.link = link
        self.descriptors = descriptors
        do throws(SystemCallError) {
            old = try OldProcess(try link.descriptor.peer().process)
        } catch {
            throw LiveUpdateError(error, "looking for the old process")
        }
        try? link.send(ImageMessage.greeting.bytes)
        old.wait(for: link.descriptor)
        guard let first = try? link.receive(.now), let arena = first.descriptors.first,
            case .hello(ImageMessage.version, _) = ImageMessage(first.bytes)
        else { _exit(1) }
        do throws(ArenaError) {
            self.arena = try Self.open(OwnedDescriptor(taking: arena), options)
        } catch {
            try? link.send(UpdateMessage.failed("the image cannot read the arena: \(error)").bytes)
            throw LiveUpdateError(error)
        }
    }

    /// Opens the arena while the old process may be changing it. An arena in the middle of a change fails the checks,
    /// so this tries again.
    private static func open(
        _ file: consuming OwnedDescriptor, _ options: Arena.Options
    ) throws(ArenaError) -> Arena {
        for _ in 0..<100 {
            if let copy = try? file.borrowed.duplicated(), let arena = try? Arena(opening: copy, options) {
                return arena
            }
            usleep(1000)
        }
        return try Arena(opening: file, options)
    }

    /// Tells the old process which formats the image knows, and gets all held descriptors.
    mutating func gather(_ orchestrator: Orchestrator) throws(LiveUpdateError) {
        formats = try orchestrator.knownFormats()
        handle(.started, orchestrator)
        while true {
            switch receive() {
            // The program says when it is ready.
            case .told: return
            case let event: handle(event, orchestrator)
            }
        }
    }

    /// Tells the old process why this image cannot be the next one.
    func fail(_ error: LiveUpdateError) { try? link.send(UpdateMessage.failed("\(error)").bytes) }

    /// Says that the program is ready, and takes over. Returns when this boot has begun; otherwise this process ends.
    mutating func takeOver(_ orchestrator: Orchestrator) {
        handle(.told, orchestrator)
        while machine.phase != .tookOver { handle(receive(), orchestrator) }
    }

    private mutating func receive() -> IncomingUpdate.Event {
        old.wait(for: link.descriptor)
        guard let received = try? link.receive(.now) else {
            // A link that ends while the old process lives means that the image is not wanted.
            return old.hasEnded ? .linkLost : .dismissed
        }
        guard !received.isTruncated else {
            received.close()
            return refuse("the image cannot open all descriptors: raise the limit on open files (ulimit -n)")
        }
        switch ImageMessage(received.bytes) {
        case .hold(let slots): return hold(slots, received.descriptors)
        case .told: return .told
        case .update(.prepare(let draft, _)):
            self.draft = draft
            return .prepare
        case .update(.handOver(let what, _, _)):
            baton = received.descriptors.first.map { CommitBaton(OwnedDescriptor(taking: $0)) }
            return .handOver(what, hasBaton: baton != nil)
        case .update(.go): return .go
        default:
            received.close()
            return .other
        }
    }

    private func hold(_ slots: [DescriptorSlot], _ sent: [FileDescriptor]) -> IncomingUpdate.Event {
        do throws(SystemCallError) {
            try descriptors.receive(slots, sent)
            return .other
        } catch {
            return refuse("the image cannot hold all descriptors (\(error)): raise the limit on open files (ulimit -n)")
        }
    }

    /// Tells the old process why this image ends.
    private func refuse(_ why: String) -> IncomingUpdate.Event {
        send(.failed(why))
        return .dismissed
    }

    private mutating func handle(_ event: IncomingUpdate.Event, _ orchestrator: Orchestrator) {
        for action in machine.handle(event) { perform(action, orchestrator) }
    }

    private mutating func perform(_ action: IncomingUpdate.Action, _ orchestrator: Orchestrator) {
        switch action {
        case .sayStandby: send(.standby(formats: formats))
        case .prepare: if let draft { try? orchestrator.prepare(on: draft) }
        case .sayPrepared: send(.prepared())
        case .open: handle(open(orchestrator), orchestrator)
        case .sayFailed(let why): send(.failed(why))
        case .sayReady: send(.ready)
        case .takeBaton: handle(.baton(isOurs: baton?.take() ?? true), orchestrator)
        case .confirm: confirm(orchestrator)
        case .sayAnswered: send(.answered)
        case .serve:
            try? orchestrator.finishDiscarded()
            descriptors.endReceiving(inUse: (try? orchestrator.slots()) ?? [])
        // The clients of a service are the program's own.
        case .resume: break
        case .exit: _exit(1)
        }
    }

    /// Sends a message. If the old process has ended, the next receive notices this.
    private func send(_ message: UpdateMessage) {
        do throws(SystemCallError) {
            try link.send(message.bytes)
        } catch {
            // The old process learns of no other error, and would wait for the message.
            if error.errno != .brokenPipe && error.errno != .connectionReset { _exit(1) }
        }
    }

    private func open(_ orchestrator: Orchestrator) -> IncomingUpdate.Event {
        do throws(LiveUpdateError) {
            try orchestrator.open(answering: nil)
            return .opened
        } catch {
            return .notOpened("\(error)")
        }
    }

    private func confirm(_ orchestrator: Orchestrator) {
        do throws(LiveUpdateError) {
            try orchestrator.confirm()
        } catch {
            send(.failed("\(error)"))
            _exit(1)
        }
    }
}

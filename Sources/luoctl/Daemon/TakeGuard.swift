// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Glibc
import LiveUpdateDevice
import LiveUpdatePlatform
import SystemPackage

/// A process that holds the files of `luoctl retrieve --take` until the program has them.
///
/// From the first unpreserve until execve(2) this process would be the only holder of the files, and a kill would lose
/// them. The guard has a descriptor of each file, too, and preserves the files again when this process dies before it
/// becomes the program. Both the death and the execve(2) close the socket to the guard. The guard tells them apart by
/// the messages that came before.
final class TakeGuard {
    /// Messages to the guard: one byte, and for a file its token and its descriptor.
    enum Message: UInt8 {
        case file = 0
        case heldFile
        /// All files have been sent.
        case all
        /// The program is executed next. The message has an inotify(7) descriptor, which shows that the program was
        /// opened.
        case executing
        /// The program could not be executed.
        case failed
        /// The files are in their session again: nothing is left to do.
        case done
    }

    private let socket: OwnedDescriptor

    /// Starts the guard, and waits until it has all files.
    init(_ files: [FileTaking.File], _ place: Place) throws(LiveUpdateError) {
        do throws(SystemCallError) {
            socket = try Self.start(place)
        } catch {
            throw LiveUpdateError(error, "starting the process that guards the files (nothing was taken)")
        }
        try hand(over: files)
    }

    /// - Returns: the socket of this process.
    private static func start(_ place: Place) throws(SystemCallError) -> OwnedDescriptor {
        let (ours, theirs) = try MessageSocket.pair()
        let socket = OwnedDescriptor(taking: ours)
        let input = OwnedDescriptor(taking: theirs)
        let nothing = try openForWriting("/dev/null")
        try ProgramImage(path: "/proc/self/exe", arguments: ["luoctl", "take-guard"] + place.arguments)
            .startApart(input: input.borrowed, output: nothing.borrowed)
        return socket
    }

    private func hand(over files: [FileTaking.File]) throws(LiveUpdateError) {
        for file in files {
            try send(file.isHeld ? .heldFile : .file, [UInt8]("\(file.token)".utf8), [file.descriptor])
        }
        try send(.all)
        guard let answer = try? socket.borrowed.receive(.waiting), answer.bytes == [Message.all.rawValue] else {
            throw LiveUpdateError(
                .tooManyOpenFiles, "the process that guards the files could not get all of them; nothing was taken",
                remedy: "raise the limit on open files (ulimit -n, LimitNOFILE=), or take fewer files at once")
        }
    }

    /// The state, user and name by which the guard finds the session again.
    struct Place {
        let state: String?
        let user: UInt32?
        let session: SessionName

        var arguments: [String] {
            // One argument, because a name can begin with a hyphen.
            ["--session=\(session.description)"]
                + (state.map { ["--state", absolutePath($0)] } ?? []) + (user.map { ["--user", "\($0)"] } ?? [])
        }
    }

    /// Announces that one of these programs is executed next.
    func execute(_ images: [ProgramImage]) {
        guard let watch = try? OpeningWatch(images.map(\.path.string)) else { return }
        try? send(.executing, [], [watch.descriptor])
    }

    /// Announces that the program could not be executed, so that this process still has the files.
    func failed() { try? send(.failed) }

    /// Ends the guard.
    func dismiss() { try? send(.done) }

    private func send(
        _ message: Message, _ bytes: [UInt8] = [], _ descriptors: [FileDescriptor] = []
    ) throws(LiveUpdateError) {
        while true {
            do throws(SystemCallError) {
                return try socket.borrowed.send([message.rawValue] + bytes, descriptors)
            } catch {
                // The guard goes on reading, so a later attempt can succeed.
                guard error.errno == .resourceTemporarilyUnavailable || error.isShortage else {
                    throw LiveUpdateError(error, "sending files to the process that guards them (nothing was taken)")
                }
                usleep(1_000)
            }
        }
    }
}

/// Shows that a program was opened, by inotify(7). execve(2) opens its program before it does anything that cannot be
/// undone.
struct OpeningWatch: ~Copyable {
    private let owned: OwnedDescriptor
    var descriptor: FileDescriptor { owned.borrowed }

    init(_ paths: [String]) throws(SystemCallError) {
        owned = OwnedDescriptor(
            taking: FileDescriptor(
                rawValue: try systemCall("inotify_init1") {
                    inotify_init1(CInt(IN_CLOEXEC | IN_NONBLOCK))
                }))
        let number = owned.borrowed.rawValue
        for path in paths {
            // ENOENT: this directory of PATH has no such program.
            _ = try? systemCall("inotify_add_watch") { unsafe inotify_add_watch(number, path, UInt32(IN_OPEN)) }
        }
    }
}

/// `luoctl take-guard`: the process that ``TakeGuard`` starts.
struct TakeGuardCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "take-guard", shouldDisplay: false)

    @OptionGroup var options: UserOptions

    @Option var session: SessionName

    func run() throws {
        var files = GuardedFiles()
        while let message = try? FileDescriptor.standardInput.receive(.waiting) {
            guard files.take(message) else { return }
        }
        guard files.areOrphaned else { return }
        // luod may notice later than the guard that the process with the session has died.
        for _ in 0..<500 {
            if putBack(files) { return }
            usleep(10_000)
        }
    }

    /// Attaches the session and preserves the files again.
    ///
    /// - Returns: whether the session could be attached.
    private func putBack(_ files: GuardedFiles) -> Bool {
        var isDone = false
        try? options.run { device throws(LiveUpdateError) in
            let opened = try device.attachSession(session, .outgoing)
            // EEXIST: the file has not left its session.
            for file in files.all {
                _ =
                    try? file.isHeld
                    ? opened.preserveHeld(file.descriptor, token: file.token)
                    : opened.preserve(file.descriptor, token: file.token)
            }
            isDone = true
        }
        return isDone
    }
}

/// The state of the guard: the files, and the progress of the process that takes them.
struct GuardedFiles {
    private(set) var all: [FileTaking.File] = []
    private var isComplete = false
    /// Set while the program is being executed.
    private var watch: FileDescriptor?

    /// Takes a message.
    ///
    /// - Returns: false when the guard is no longer needed.
    mutating func take(_ message: ReceivedMessage) -> Bool {
        guard let kind = message.bytes.first.flatMap(TakeGuard.Message.init), !message.isTruncated else { return false }
        switch kind {
        case .file, .heldFile:
            guard let token = UInt64(String(decoding: message.bytes.dropFirst(), as: UTF8.self)),
                let file = message.descriptors.first
            else {
                return false
            }
            all.append(FileTaking.File(token: token, descriptor: file, isHeld: kind == .heldFile))
        case .all:
            isComplete = true
            return (try? FileDescriptor.standardInput.send([kind.rawValue])) != nil
        case .executing: watch = message.descriptors.first
        case .failed: watch = nil
        case .done: return false
        }
        return true
    }

    /// Whether the process that took the files died before it became the program.
    var areOrphaned: Bool {
        guard isComplete else { return false }
        guard let watch else { return true }
        return !watch.isReadable(within: 0)
    }
}

// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// The error of a failed call. luod gives the reason. The kernel's device answers only with an errno, which has another
/// meaning for each call.
struct CallFailure {
    private let call: Call
    private let errno: Errno
    /// The session, token or user that the call was about.
    private let subject: String

    init(_ call: Call, _ errno: Errno, _ subject: String) {
        self.call = call
        self.errno = errno
        self.subject = subject
    }

    /// The error of an answer. `reason` is the reason in the answer; nil when it has none. `text` is the text in the
    /// struct of a call that explains itself.
    func error(_ reason: ReasonText?, saying text: String = "") -> LiveUpdateError {
        if errno == .protocolError && reason == nil { return Self.unexpected(call, subject) }
        if let reason { return LiveUpdateError(errno, reason.reason, remedy: reason.remedy) }
        if !text.isEmpty { return error(saying: text) }
        return LiveUpdateError(errno, "\(subject): \(call) failed, and luod said no reason")
    }

    /// The error of a call that explains itself in the text of its struct.
    private func error(saying text: String) -> LiveUpdateError {
        // A list of several lines ends with a line for the remedy. Other text may have the form of a LiveUpdateError,
        // with the errno and a remedy.
        if let remedy = text.firstRange(of: "\nremedy: ") {
            return LiveUpdateError(
                errno, String(text[..<remedy.lowerBound]), remedy: String(text[remedy.upperBound...]))
        }
        guard let written = text.firstRange(of: " (\(errno))") else { return LiveUpdateError(errno, text) }
        let remedy = text[written.upperBound...].drop { ";  ".contains($0) }
        return LiveUpdateError(
            errno, String(text[..<written.lowerBound]), remedy: remedy.isEmpty ? nil : String(remedy))
    }

    /// The error of a connection that luod closed at once, with only an errno.
    var refused: LiveUpdateError {
        if errno == .protocolError { return Self.unexpected(call, subject) }
        guard errno == .tooManyOpenFiles else {
            return LiveUpdateError(errno, "luod refused the connection", remedy: "its log says why")
        }
        return LiveUpdateError(
            errno, "luod refused the connection: it holds as many descriptors as it may, for this user or at all",
            remedy:
                "close connections, finish sessions, or start luod with a larger --max-user-descriptors or --max-descriptors"
        )
    }

    /// The error of a message that is not an answer to the call.
    static func unexpected(_ call: Call, _ subject: String) -> LiveUpdateError {
        LiveUpdateError(
            .protocolError, "\(subject): luod sent an unexpected answer to \(call)",
            remedy: "use a client and a luod of the same version")
    }

    /// The error of a call without an answer.
    func withoutAnswer(_ failed: SystemCallError) -> LiveUpdateError {
        switch errno {
        case .socketNotConnected, .brokenPipe, .connectionReset:
            LiveUpdateError(
                .socketNotConnected, "\(subject): luod has ended",
                remedy: "start it again, and connect again; files without a name went with it")
        case .inappropriateIOCTLForDevice: ofKernel
        case .tooManyOpenFiles:
            LiveUpdateError(
                errno,
                "\(subject): the descriptor of the answer did not arrive, because this process has too many open files",
                remedy: "raise the limit on open files (ulimit -n, LimitNOFILE=), and repeat the call: nothing is lost")
        case .protocolError: Self.unexpected(call, subject)
        default: LiveUpdateError(failed, subject)
        }
    }

    // MARK: The kernel's device

    /// The reason and the remedy.
    private typealias Words = (reason: String, remedy: String?)

    /// The error of a call on the kernel's device, by its errno.
    var ofKernel: LiveUpdateError {
        let words = wordsOfKernel
        return LiveUpdateError(errno, "\(subject): \(words.reason)", remedy: words.remedy)
    }

    private var wordsOfKernel: Words {
        switch (call, errno) {
        case (_, .inappropriateIOCTLForDevice): wordsOfExtension
        case (_, .operationNotSupportedByDevice): ("the session is of a boot that has ended", "retrieve it in this one")
        case (.createSession, .invalidArgument): ("a name has 1 to 63 bytes, and no NUL", "use another name")
        case (.createSession, .fileExists): ("a session of that name exists", "use another name")
        case (.retrieveSession, .invalidArgument): ("the session is open already", "close it first")
        case (.retrieveSession, .noSuchFileOrDirectory):
            ("the previous kernel handed over no session of that name", "use the name that it was created with")
        case (.preserve, .fileExists): ("the token is in use", "use another token")
        case (.preserve, .noSuchFileOrDirectory):
            ("the kernel cannot preserve this kind of file", "use a memory file of ordinary pages, or luod")
        case (.preserve, .resourceBusy): ("the file is preserved already", "preserve each file once")
        case (.preserve, .invalidArgument): ("the session is incoming", "preserve in an outgoing session")
        case (.retrieve, .noSuchFileOrDirectory): ("the session has no such token", "use the token of the preserve")
        case (.retrieve, .invalidArgument), (.finish, .invalidArgument):
            ("the session is outgoing", "retrieve from and finish an incoming session")
        case (.finish, .resourceBusy): ("a file cannot be finished yet", "finish again later; nothing has changed")
        default: ("\(call) failed", nil)
        }
    }

    /// The error of a call that the kernel's device does not have.
    private var wordsOfExtension: Words {
        switch call {
        case .getName: ("this is no session of the kernel's device", "use a descriptor of a session")
        case .attachSession, .setDetached:
            ("a session of the kernel ends with its last descriptor, and cannot be attached", "hold its descriptor")
        case .status: ("the kernel's device cannot list its sessions and files", "use luod, which can")
        case .removeSession:
            ("the kernel's device cannot remove a session", "close its last descriptor, or finish it")
        case .get, .unpreserve:
            ("the kernel's device gives back no single file of an outgoing session", "close the session")
        case .preserveHeld, .retrieveAsHeld: ("the kernel's device holds no other descriptors", "use luod, which can")
        case .check: ("the kernel's device cannot check a file", "preserve the file in a session, and close that")
        default:
            ("the kernel's device does not have the call \(call), which is an extension of luod", "connect to luod")
        }
    }

    // MARK: Getting there

    static func connecting(_ errno: Errno, _ state: String) -> LiveUpdateError {
        switch errno {
        case .notDirectory:
            LiveUpdateError(errno, "no luod runs on \(state)", remedy: "name the directory of its state")
        case .noSuchFileOrDirectory, .connectionRefused:
            LiveUpdateError(
                errno, "no luod runs on \(state)", remedy: "start it: luod --state \(state); or name another state")
        case .permissionDenied:
            LiveUpdateError(
                errno, "this user may not connect to luod on \(state)",
                remedy:
                    "run as the user of luod or as root, or start luod with --socket-group and --socket-mode 0660 for a group, or with --socket-mode 0666 for everybody"
            )
        case .fileNameTooLong:
            LiveUpdateError(
                errno, "the path \(state) is too long for a socket",
                remedy: "name a state whose path has at most 96 bytes")
        default: LiveUpdateError(errno, "connecting to luod on \(state)")
        }
    }

    static func opening(_ errno: Errno, _ path: String) -> LiveUpdateError {
        switch errno {
        case .noSuchFileOrDirectory, .noSuchAddressOrDevice, .operationNotSupportedByDevice:
            LiveUpdateError(
                errno, "this kernel has no \(path)",
                remedy:
                    "use luod, which needs no such device, or start a kernel that has LUO with kho=on liveupdate=on"
            )
        case .resourceBusy: LiveUpdateError(errno, "\(path) is open in another program", remedy: "wait for its end")
        case .permissionDenied: LiveUpdateError(errno, "only root may open \(path)", remedy: "run as root")
        default: LiveUpdateError(errno, "opening \(path)")
        }
    }
}

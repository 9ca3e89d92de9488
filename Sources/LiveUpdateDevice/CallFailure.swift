import LiveUpdate
import LiveUpdateProtocol
import Platform
import SystemPackage

/// Why a call failed, in words: an answer is only an errno, which means something else for each call.
struct CallFailure {
    private let call: Call
    private let errno: Errno
    /// What it was about.
    private let subject: String

    init(_ call: Call, _ errno: Errno, _ subject: String) {
        self.call = call
        self.errno = errno
        self.subject = subject
    }

    /// What was found, and what to do about it.
    private typealias Words = (reason: String, remedy: String?)

    var error: LiveUpdateError {
        let words = ofCall ?? ofAny
        return LiveUpdateError(errno, "\(subject): \(words.reason)", remedy: words.remedy)
    }

    /// Of an update, whose answer says why.
    func error(saying text: String) -> LiveUpdateError {
        guard !text.isEmpty else { return error }
        // It may have been written as LiveUpdateError does: with the errno and a remedy of its own.
        // A list of several lines ends with a line for the remedy.
        if let remedy = text.firstRange(of: "\nremedy: ") {
            return LiveUpdateError(
                errno, String(text[..<remedy.lowerBound]), remedy: String(text[remedy.upperBound...]))
        }
        guard let written = text.firstRange(of: " (\(errno))") else {
            return LiveUpdateError(errno, text, remedy: ofCall?.remedy)
        }
        let remedy = text[written.upperBound...].drop { ";  ".contains($0) }
        return LiveUpdateError(
            errno, String(text[..<written.lowerBound]), remedy: remedy.isEmpty ? ofCall?.remedy : String(remedy))
    }

    /// No answer came.
    func withoutAnswer(_ failed: SystemCallError) -> LiveUpdateError {
        switch errno {
        case .socketNotConnected, .brokenPipe, .connectionReset:
            LiveUpdateError(
                .socketNotConnected, "\(subject): luod has ended",
                remedy: "start it again, and connect anew; files without a name went with it")
        case .inappropriateIOCTLForDevice: error
        case .tooManyOpenFiles:
            LiveUpdateError(
                errno,
                "\(subject): the descriptor of the answer did not arrive, because this process has too many open files",
                remedy: "raise the limit on open files (ulimit -n, LimitNOFILE=), and repeat the call: nothing is lost")
        case .protocolError: error
        default: LiveUpdateError(failed, subject)
        }
    }

    private var ofAny: Words {
        switch errno {
        case .operationNotSupportedByDevice:
            ("the session is of a boot that has ended", "retrieve it, or attach it, from this one")
        case .inappropriateIOCTLForDevice:
            ("\(call) is no call of the kernel's device", "it is an extension of luod: connect to that")
        case .diskQuotaExceeded:
            (
                "this user has as many files preserved as one may have",
                "finish or unpreserve some (luoctl status lists them), or start luod with a larger --max-files"
            )
        case .noSpace:
            (
                "the arena is full, or as much of it as this user may have",
                "let go of files, or start luod with a larger --max-arena or --max-user-arena"
            )
        case .tooManyUsers:
            (
                "this user has as many sessions as one may have",
                "finish or remove some (luoctl status lists them), or start luod with a larger --max-sessions"
            )
        case .tooManyOpenFiles:
            (
                "luod keeps as many descriptors for this user as it may, or has no more itself",
                "close connections, finish sessions, or start luod with a larger --max-user-descriptors or --max-descriptors"
            )
        case .notPermitted: ("only root may", "run as root")
        case .protocolError:
            ("luod sent an unexpected answer to \(call)", "use a client and a luod of the same version")
        case .ioError:
            (
                "luod cannot read what the previous boot left",
                "its log says why; luoctl inspect STATE/arena shows what can be read"
            )
        default: ("\(call) failed", nil)
        }
    }

    private var ofCall: Words? {
        switch call {
        case .createSession, .retrieveSession, .attachSession: ofOpening
        case .preserve, .preserveHeld, .check: ofPreserving
        case .retrieve, .retrieveAsHeld, .finish, .get, .unpreserve: ofLettingGo
        case .load, .update, .reload: ofUpdating
        case .serve where errno == .socketNotConnected:
            ("the keeper of luod has died", "start luod on this state, which takes its place")
        case .asUser where errno == .notPermitted: ("only root may act as another user", "run as root")
        case .removeSession: ofRemoving
        case .stop where errno == .resourceBusy:
            ("sessions or files would be lost", "end them first, or lose them (luoctl stop --discard)")
        case .status, .getName, .setDetached, .serve, .openDevice, .identify, .asUser, .stop: nil
        }
    }

    private var ofOpening: Words? {
        switch (call, errno) {
        case (.createSession, .invalidArgument): ("a name has 1 to 63 bytes, and no NUL", "give it another name")
        case (.createSession, .fileExists): ("there is one of that name", "attach it, or use another name")
        case (.retrieveSession, .invalidArgument):
            ("it is retrieved already, and open", "attach it, if it is detached; else whoever has it is to close it")
        case (.retrieveSession, .noSuchFileOrDirectory):
            (
                "the last update handed over no session of that name of this user",
                "luoctl session list shows all sessions; use luoctl retrieve --take for a session made since the update"
            )
        case (.attachSession, .noSuchFileOrDirectory):
            (
                "this user has no session of that name and direction",
                "luoctl session list shows all sessions; luoctl session create makes one"
            )
        case (.attachSession, .resourceBusy):
            (
                "a client holds the session, or the session is not detached",
                "wait for the end of the client; an incoming session without a holder can be retrieved"
            )
        default: nil
        }
    }

    private var ofRemoving: Words? {
        switch errno {
        case .noSuchFileOrDirectory: ("this user has no session of that name", "luoctl session list shows them")
        case .resourceBusy:
            (
                "a client holds the session, or a handler cannot finish it yet",
                "try again later, or force the removal (luoctl session rm --force)"
            )
        default: nil
        }
    }

    private var ofPreserving: Words? {
        switch errno {
        case .invalidArgument: ("the session is incoming: it was made before the update", "preserve in an outgoing one")
        case .fileExists: ("the token is in use", "use another one, or unpreserve it first")
        case .badFileDescriptor: ("the descriptor is not open", "pass one that is")
        case .noSuchFileOrDirectory:
            (
                "no handler takes this kind of file",
                "luoctl check says why; any descriptor can be kept open as it is (preserveHeld, luoctl preserve --held)"
            )
        case .resourceBusy:
            ("the file is held already", "one file is preserved once; after an update finish its session first")
        default: nil
        }
    }

    private var ofLettingGo: Words? {
        switch (call, errno) {
        case (.get, .invalidArgument), (.unpreserve, .invalidArgument):
            ("the session is incoming: it was made before the update", "retrieve the file, and finish the session")
        case (.finish, .invalidArgument):
            ("the session is outgoing: there was no update since it was made", "remove it, or update first")
        case (_, .invalidArgument):
            (
                "the session is outgoing: there was no update since it was made",
                "take the file back instead (luoctl retrieve --take)"
            )
        case (.finish, .resourceBusy): ("a handler cannot let go yet", "try again later; nothing has changed")
        case (_, .noSuchFileOrDirectory): ("there is no such token", "luoctl status lists them")
        case (_, .badFileDescriptor):
            ("the file is lost: the last process that held it has ended", "make a new file, and preserve that")
        default: nil
        }
    }

    private var ofUpdating: Words? {
        switch errno {
        case .resourceBusy:
            (
                "an update is under way, or incoming sessions are unfinished",
                "finish them (luoctl session list shows them), or discard them"
            )
        case .notSupported: ("the image cannot take over", "nothing has changed: use another image")
        case .canceled: ("the update was called off", "nothing has changed: luod's log says more")
        case .socketNotConnected: ("the keeper of luod has died", "start luod on this state, which takes its place")
        case .staleNFSFileHandle: ("a file has changed", "nothing has changed: set its size back, or let go of it")
        default: nil
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
        default: LiveUpdateError(errno, "connecting to luod on \(state)")
        }
    }

    static func opening(_ errno: Errno, _ path: String) -> LiveUpdateError {
        switch errno {
        case .noSuchFileOrDirectory, .noSuchAddressOrDevice, .operationNotSupportedByDevice:
            LiveUpdateError(errno, "this kernel has no \(path)", remedy: "use luod, which needs none")
        case .resourceBusy: LiveUpdateError(errno, "\(path) is open in another program", remedy: "wait for its end")
        default: LiveUpdateError(errno, "opening \(path)")
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import SystemPackage

/// Remedies for luod's clients, which replace remedies that mention the core's own interface.
///
/// The core tells its caller what to do in Swift. A client of luod uses luoctl, and an administrator uses luod's
/// options.
enum LuoctlRemedies {
    /// The same error, with a remedy that mentions luoctl and luod's options instead of the core's interface.
    static func adapted(_ error: LiveUpdateError) -> LiveUpdateError {
        guard let said = error.remedy, let words = remedies[Key(errno: error.errno.rawValue, remedy: said)] else {
            return error
        }
        return LiveUpdateError(error.errno, error.reason, remedy: words)
    }

    /// The text about an update, a load or a reload that failed, with a remedy on its own line.
    static func explained(_ why: String, _ errno: CInt) -> String {
        guard !why.contains("\nremedy: "), !why.contains(" (\(Errno(rawValue: errno)))"), let remedy = ofUpdates[errno]
        else {
            return why
        }
        return "\(why)\nremedy: \(remedy)"
    }

    private static let ofUpdates: [CInt: String] = [
        Errno.resourceBusy.rawValue: "wait for the end of the update that is under way",
        Errno.notSupported.rawValue:
            "the sessions have not changed, and no loaded image waits now: name a program of luod; luod's log has the output "
            + "of this one",
        Errno.canceled.rawValue: "nothing has changed: luod's log says more",
        Errno.socketNotConnected.rawValue: "start luod on this state, which takes the keeper's place",
    ]

    struct Key: Hashable {
        var errno: CInt
        var remedy: String
    }

    static let remedies: [Key: String] = [
        // EUSERS
        Key(errno: 87, remedy: "end some of them, or raise the limit"):
            "finish or remove some (luoctl session list shows them), or start luod with a larger --max-sessions",
        // EDQUOT
        Key(errno: 122, remedy: "finish or unpreserve some of them, or raise the limit"):
            "finish or unpreserve some (luoctl status lists them), or start luod with a larger --max-files",
        // ENOSPC
        Key(errno: 28, remedy: "finish or unpreserve some of them, or raise the limit"):
            "finish or unpreserve some (luoctl status lists them), or start luod with a larger --max-user-arena",
        Key(errno: 28, remedy: "raise the arena's limit, or give its file system more room"):
            "unpreserve files, start luod with a larger --max-arena, or give the file system of its state more room",
        // EEXIST
        Key(errno: 17, remedy: "close that one, or use another name"):
            "attach it, remove it (luoctl session rm), or use another name",
        // EINVAL
        Key(errno: 22, remedy: "use the session that is open (openSessions), or close it first"):
            "attach it, if it is detached; otherwise wait for the end of the client that holds it",
        // EBUSY
        Key(errno: 16, remedy: "finish them, or say that they are to be discarded"):
            "finish them (luoctl session list shows them), or lose them (luoctl update --discard)",
        // ENOENT
        Key(errno: 2, remedy: "the status lists what was; a session that was finished and closed is gone"):
            "luoctl session list shows all sessions; luoctl retrieve --take is for a session made since the update",
        Key(errno: 2, remedy: "the session lists its tokens"): "luoctl status lists the tokens",
        Key(errno: 2, remedy: "preserve memory files, or register a handler for this kind"):
            "luoctl check says why; any descriptor can be held as it is (luoctl preserve --held)",
    ]
}

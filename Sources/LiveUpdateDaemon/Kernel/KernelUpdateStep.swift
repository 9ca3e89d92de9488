// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCore
import LiveUpdateProtocol
import SystemPackage

/// The step that luod takes for a KERNEL_UPDATE request. The decision does no I/O.
enum KernelUpdateStep: Equatable, Sendable {
    case refuse(KernelUpdateRefusal)
    /// Forget an earlier request to publish at the end of luod.
    case forget
    /// Only answer, with the list of all losses.
    case answer
    /// Publish when luod ends.
    case publishAtEnd
    /// Let a thread give the memory files to the kernel. luod performs the request again afterwards.
    case prepare
    /// Publish now.
    case publish

    /// The state of the files that a thread gives to the kernel.
    enum Preparation: Equatable, Sendable {
        case none
        /// The kernel has the files, for this client.
        case done
        /// The thread has failed for this client.
        case failed(KernelUpdateRefusal)
        /// Another client, with this process, has begun a kernel update.
        case ofOther(process: CInt)
    }

    /// Everything that the decision depends on.
    struct Situation: Sendable {
        var flags: UInt32
        /// Whether the client has closed its connection.
        var hasClientGone = false
        /// Whether an update, a load or a reload is under way.
        var isUpdateUnderWay = false
        /// The reason why the update would lose something that the client does not allow to be lost.
        var loss: KernelUpdateRefusal?
        var preparation = Preparation.none
        /// Whether the kernel's orchestrator carries memory files.
        var carriesMemory = false
    }

    private static let knownFlags =
        UpdateCall.discard | UpdateCall.leaveOut | UpdateCall.atEnd | UpdateCall.onlyAsk | UpdateCall.forget
        | UpdateCall.confirm | UpdateCall.withoutHolder

    /// Whether the decision depends on the losses of the update.
    static func needsLosses(_ flags: UInt32) -> Bool { flags & (UpdateCall.forget | UpdateCall.confirm) == 0 }

    /// Decides on the step.
    init(_ situation: Situation) {
        let flags = situation.flags
        func has(_ flag: UInt32) -> Bool { flags & flag != 0 }
        self =
            if flags & ~Self.knownFlags != 0 {
                .refuse(.unknownFlags)
            } else if has(UpdateCall.confirm) {
                // A publication answers this itself: see ``PublishedState``.
                .refuse(.notPublished)
            } else if has(UpdateCall.forget) {
                .forget
            } else if situation.hasClientGone {
                .refuse(.clientGone)
            } else if situation.isUpdateUnderWay {
                .refuse(.updateUnderWay)
            } else if let loss = situation.loss {
                .refuse(loss)
            } else if has(UpdateCall.onlyAsk) {
                .answer
            } else if has(UpdateCall.atEnd) {
                .publishAtEnd
            } else {
                Self.now(situation)
            }
    }

    private static func now(_ situation: Situation) -> KernelUpdateStep {
        switch situation.preparation {
        case .ofOther(let process): .refuse(.otherKernelUpdate(process: process))
        case .failed(let refusal): .refuse(refusal)
        case .none where situation.carriesMemory: .prepare
        case .none, .done: .publish
        }
    }
}

/// A refusal of a KERNEL_UPDATE request: the text of the answer, and its errno.
struct KernelUpdateRefusal: Equatable, Sendable {
    let why: String
    let errno: Errno

    init(_ why: String, _ errno: Errno) { (self.why, self.errno) = (why, errno) }

    static let unknownFlags = KernelUpdateRefusal(
        "the request has unknown flags\nremedy: use luoctl of the version of luod", .invalidArgument)
    static let notPublished = KernelUpdateRefusal(
        "the state is not published for the next kernel (any more): luod's process that had published it was ended\n"
            + "remedy: ask for the kernel update again", .canceled)
    static let clientGone = KernelUpdateRefusal(
        "the client of the kernel update has gone\nremedy: ask for it again", .canceled)
    static let updateUnderWay = KernelUpdateRefusal(
        "an update is under way\nremedy: ask again when it has ended", .resourceBusy)
    static func otherKernelUpdate(process: CInt) -> KernelUpdateRefusal {
        KernelUpdateRefusal(
            "process \(process) replaces the kernel already\nremedy: wait, or end process \(process), which calls that off",
            .resourceBusy)
    }
}

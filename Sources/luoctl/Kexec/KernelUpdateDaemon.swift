// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCommandLine
import LiveUpdateCore
import LiveUpdateDevice
import LiveUpdateHandlers
import LiveUpdateKernel
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// luod's part in the replacement of the kernel. This is the only place in which `luoctl kexec` talks to luod.
///
/// 1. ``survey()`` asks which files the sessions have, and which carrier each has. Nothing is changed.
/// 2. ``prepare(_:)`` makes luod publish its state, once the next kernel is loaded.
/// 3. ``note(_:)`` leaves the record of the update in luod's state directory, just before the next kernel starts.
/// 4. ``takeBack()`` undoes both, if the kernel was not replaced after all.
protocol KernelUpdateDaemon {
    /// The files of all sessions, with their carriers, and the incoming sessions that are not finished.
    func survey() -> KexecSituation.Daemon

    /// Makes luod publish its state, at once or in its stop.
    ///
    /// - Throws: the reason why luod goes on as before.
    func prepare(_ order: KernelUpdateOrder) throws(LiveUpdateError)

    /// Leaves the record for `luoctl kexec --report`. Nothing depends on it, so a failure is only said.
    func note(_ record: KernelUpdateRecord)

    /// Makes everything go on as before, after a kernel that could not be started.
    func takeBack()
}

/// An order for luod to prepare the replacement of the kernel.
struct KernelUpdateOrder {
    /// The moment at which luod freezes and publishes everything.
    enum Moment {
        /// Before ``KernelUpdateDaemon/prepare(_:)`` returns. The kernel is replaced directly afterwards.
        case now
        /// In luod's next stop. systemd stops luod after its clients.
        case inStop
    }

    let moment: Moment
    /// Whether files without a carrier are lost, and stop nothing.
    let leavesBehind: Bool
    /// Whether incoming sessions that are not finished are lost, and stop nothing.
    let discards: Bool
}

/// No luod takes part.
struct NoDaemon: KernelUpdateDaemon {
    /// The reason in words.
    let reason: String

    func survey() -> KexecSituation.Daemon { .absent(reason: reason) }
    func prepare(_ order: KernelUpdateOrder) {}
    func note(_ record: KernelUpdateRecord) {}
    func takeBack() {}
}

/// A luod that runs.
struct RunningDaemon: KernelUpdateDaemon {
    let device: LiveUpdateDevice
    /// The record of the update, in luod's state directory.
    let file: KernelUpdateFile

    /// Whether the kernel has a Live Update Orchestrator, which luod uses then.
    private var hasLiveUpdate: Bool { (try? FileStatus(at: "/dev/liveupdate")) != nil }

    func survey() -> KexecSituation.Daemon {
        do throws(LiveUpdateError) {
            let status = try LuodStatus(of: device)
            if let refusal = status.daemon.refusal {
                return .unable(
                    reason: "it cannot read its state: \(refusal)", remedy: "luoctl inspect shows the readable part")
            }
            let files = status.sessions.flatMap { session in
                session.files.map { CarriedFile($0, of: session, hasLiveUpdate: hasLiveUpdate) }
            }
            return .running(
                files: files, unfinished: status.unfinished.filter { $0.state == "unfinished" }.map(\.subject))
        } catch {
            return .unable(
                reason: "its sessions cannot be read: \(error.reason)", remedy: error.remedy ?? "look into its log")
        }
    }

    func prepare(_ order: KernelUpdateOrder) throws(LiveUpdateError) {
        let moment: LiveUpdateDevice.KernelUpdate = order.moment == .now ? .now : .atEnd
        _ = try device.updateKernel(
            moment, discardingUnfinished: order.discards, leavingBehind: order.leavesBehind)
    }

    func note(_ record: KernelUpdateRecord) {
        do throws(SystemCallError) {
            try file.write(record, luodUser: try device.descriptor.peer().user)
        } catch {
            Exit.say(
                "luoctl kexec --report will not know this update: no file can be written into "
                    + "\(file.state.string.shown): \(error)")
        }
    }

    func takeBack() {
        file.remove()
        // luod also takes back what it has published: any request on this connection does that.
        try? device.forgetKernelUpdate()
    }
}

extension CarriedFile {
    /// A file of a session, with the carrier that its handler's name stands for.
    fileprivate init(_ file: LuodStatus.File, of session: LuodStatus.Session, hasLiveUpdate: Bool) {
        self.init(
            user: session.owner, session: session.name, token: file.token, handler: file.compatible, size: file.size,
            carrier: Self.carrier(of: file, hasLiveUpdate: hasLiveUpdate))
    }

    private static func carrier(of file: LuodStatus.File, hasLiveUpdate: Bool) -> Carrier {
        let compatible = file.compatible
        if compatible.hasPrefix("dax-") { return .dax }
        if compatible == MemfdHandler.format, hasLiveUpdate {
            let size = file.size ?? 0
            return .liveUpdate(filling: size - min(size, file.allocated ?? 0))
        }
        let reason =
            compatible.hasPrefix("huge")
            ? "the memory of huge pages ends with the kernel" : "the file ends with the kernel"
        return .none(reason: reason, remedy: "put its content into a file on DAX")
    }
}

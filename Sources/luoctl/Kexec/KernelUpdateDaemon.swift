// SPDX-License-Identifier: Apache-2.0
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
/// 2. ``prepare(leavingBehind:discarding:)`` has luod freeze and publish. luod then serves no client.
/// 3. ``takeBack()`` undoes that, if the kernel was not replaced after all.
protocol KernelUpdateDaemon {
    /// The files of all sessions, with their carriers, and the incoming sessions that are not finished.
    func survey() -> KexecSituation.Daemon

    /// Freezes and publishes everything.
    ///
    /// - Parameters:
    ///   - leavingBehind: whether files without a carrier are lost, and stop nothing.
    ///   - discarding: whether incoming sessions that are not finished are lost, and stop nothing.
    /// - Throws: the reason why luod goes on as before.
    func prepare(leavingBehind: Bool, discarding: Bool) throws(LiveUpdateError)

    /// Makes everything go on as before, after a kernel that could not be started.
    func takeBack()
}

/// No luod takes part.
struct NoDaemon: KernelUpdateDaemon {
    /// The reason in words.
    let reason: String

    func survey() -> KexecSituation.Daemon { .absent(reason: reason) }
    func prepare(leavingBehind: Bool, discarding: Bool) {}
    func takeBack() {}
}

/// A luod that runs.
struct RunningDaemon: KernelUpdateDaemon {
    let device: LiveUpdateDevice

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

    func prepare(leavingBehind: Bool, discarding: Bool) throws(LiveUpdateError) {
        _ = try device.updateKernel(.now, discardingUnfinished: discarding, leavingBehind: leavingBehind)
    }

    func takeBack() {
        // Any request on the connection takes everything back, and is answered when luod serves again.
        _ = try? device.statusPage()
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

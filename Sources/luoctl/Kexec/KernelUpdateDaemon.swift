// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCommandLine
import LiveUpdateCore
import LiveUpdateDevice
import LiveUpdateKernel
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// luod's part in the replacement of the kernel. This is the only place in which `luoctl kexec` talks to luod.
///
/// 1. ``survey()`` asks which files the sessions have, and which carrier each has. Nothing is changed.
/// 2. ``prepare(_:)`` makes luod publish its state, once the next kernel is loaded.
/// 3. ``note(_:)`` leaves the record of the update in luod's state directory, just before the next kernel starts.
/// 4. ``confirm()`` checks that the state is still published, before a start of the next kernel at once.
/// 5. ``takeBack()`` undoes all of it, if the kernel was not replaced after all.
protocol KernelUpdateDaemon {
    /// The files of all sessions, with their carriers, and the incoming sessions that are not finished.
    func survey() -> KexecSituation.Daemon

    /// Makes luod publish its state, at once or when luod is stopped.
    ///
    /// - Throws: the reason why luod does not. luod goes on as before then.
    func prepare(_ order: KernelUpdateOrder) throws(LiveUpdateError)

    /// Leaves the record for `luoctl kexec --report`. Nothing depends on it, so a failure is only said.
    func note(_ record: KernelUpdateRecord)

    /// Checks that the state which luod has published at once is still published.
    ///
    /// - Throws: the reason why the state is no longer published.
    func confirm() throws(LiveUpdateError)

    /// Makes everything go on as before, after a kernel that could not be started.
    func takeBack()
}

/// An order for luod to prepare the replacement of the kernel.
struct KernelUpdateOrder {
    /// The moment at which luod freezes and publishes everything.
    enum Moment {
        /// Before ``KernelUpdateDaemon/prepare(_:)`` returns. The kernel is replaced directly afterwards.
        case now
        /// When luod is stopped. systemd stops luod after its clients.
        case inStop
    }

    let moment: Moment
    /// Whether the update goes on without files that have no carrier. They are lost.
    let leavesBehind: Bool
    /// Whether the update goes on without incoming sessions that are not finished. They are lost.
    let discards: Bool
}

/// The stand-in for a luod that does not answer: it takes no part in the update.
struct NoDaemon: KernelUpdateDaemon {
    /// The reason in words.
    let reason: String

    func survey() -> KexecSituation.Daemon { .absent(reason: reason) }
    func prepare(_ order: KernelUpdateOrder) {}
    func note(_ record: KernelUpdateRecord) {}
    func confirm() {}
    func takeBack() {}
}

/// The kernel's Live Update Orchestrator, as a carrier of memory files.
enum LiveUpdateCarrier {
    case missing
    /// The kernel has it, but systemd would end the process that holds the files until the kernel ends.
    case endedBySystemd
    case carries
}

/// A luod that runs.
struct RunningDaemon: KernelUpdateDaemon {
    let device: LiveUpdateDevice
    /// The path of luod's state directory.
    let state: String
    /// The record of the update, in luod's state directory.
    let file: KernelUpdateFile

    /// The kernel's Live Update Orchestrator as a carrier. Where systemd runs, the unit of luod decides, too.
    private func liveUpdate(_ status: LuodStatus) -> LiveUpdateCarrier {
        guard status.carriesMemory == true else { return .missing }
        return !KernelReplacement.hasSystemd || Self.sparesHolder(status) ? .carries : .endedBySystemd
    }

    /// Whether the unit of luod lets a holder live until the kernel ends.
    private static func sparesHolder(_ status: LuodStatus) -> Bool {
        let groups = try? readWhole("/proc/\(status.daemon.orchestrator)/cgroup")
        guard let unit = groups.flatMap({ ServiceUnit(groups: $0) }),
            let properties = output(of: ["systemctl", "show", "--property=\(ServiceUnit.properties)", unit.name])
        else { return false }
        return ServiceUnit.leavesProcesses(properties)
    }

    /// The output of a program; nil when it cannot be started, or does not end in time.
    private static func output(of command: [String]) -> String? {
        for path in Execution.places(of: command[0]) where (try? FileStatus(at: path)) != nil {
            let image = ProgramImage(path: FilePath(path), arguments: command)
            guard let process = try? ChildProcess.start(image, isQuiet: true) else { continue }
            let output = process.readOutput(within: 10_000)
            return process.finish() == 0 ? output : nil
        }
        return nil
    }

    /// Whether luod's arena is in another directory than the one that this command knows.
    private var isStateElsewhere: Bool {
        do throws(SystemCallError) {
            _ = try FileStatus(at: FilePath(state).appending("arena").string, followingLinks: false)
            return false
        } catch {
            return error.errno == .noSuchFileOrDirectory
        }
    }

    /// Whether the state is on a file system that ends with the kernel.
    private var isStateInMemory: Bool { (try? FileSystemKind(at: state))?.isInMemory == true }

    func survey() -> KexecSituation.Daemon {
        do throws(LiveUpdateError) {
            let status = try LuodStatus(of: device)
            if let refusal = status.daemon.refusal {
                return .unable(
                    reason: "it cannot read its state: \(refusal)", remedy: "luoctl inspect shows the readable part")
            }
            if isStateElsewhere {
                return .unable(
                    reason: "its state is in another directory than \(state.shown)",
                    remedy: "name luod's state directory with --state or LUO_STATE")
            }
            let liveUpdate = liveUpdate(status)
            if !status.sessions.isEmpty, liveUpdate != .carries, isStateInMemory {
                return .unable(
                    reason:
                        "its state \(state.shown) is in memory, and ends with the kernel together with all sessions",
                    remedy: "start luod with a --state on DAX or on a disk")
            }
            let files = status.sessions.flatMap { session in
                session.files.map { CarriedFile($0, of: session, liveUpdate) }
            }
            return .running(
                files: files, unfinished: status.unfinished.filter { $0.state == "unfinished" }.map(\.subject))
        } catch {
            return .unable(
                reason: "its sessions cannot be read: \(error.reason)", remedy: error.remedy ?? "look into its log")
        }
    }

    func prepare(_ order: KernelUpdateOrder) throws(LiveUpdateError) {
        _ = try device.updateKernel(
            try moment(of: order), discardingUnfinished: order.discards, leavingBehind: order.leavesBehind)
    }

    private func moment(of order: KernelUpdateOrder) throws(LiveUpdateError) -> LiveUpdateDevice.KernelUpdate {
        switch order.moment {
        case .now: .now
        // systemd would wait for the holder, and kill it after TimeoutStopSec=.
        case .inStop: .atEnd(hasHolder: Self.sparesHolder(try LuodStatus(of: device)))
        }
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

    func confirm() throws(LiveUpdateError) { try device.confirmKernelUpdate() }

    func takeBack() {
        file.remove()
        // Any request on this connection also makes luod thaw, if it has published already.
        try? device.forgetKernelUpdate()
    }
}

extension CarriedFile {
    /// A file of a session. Its carrier follows from the fate that luod reports.
    init(
        _ file: LuodStatus.File, of session: LuodStatus.Session, _ liveUpdate: LiveUpdateCarrier
    ) {
        self.init(
            user: session.owner, session: session.name, token: file.token, handler: file.compatible, size: file.size,
            identity: file.identity, carrier: Self.carrier(of: file, in: session, liveUpdate))
    }

    private static func carrier(
        of file: LuodStatus.File, in session: LuodStatus.Session, _ liveUpdate: LiveUpdateCarrier
    ) -> Carrier {
        if session.direction == Direction.outgoing.rawValue, let problem = file.problem {
            return .none(reason: problem, remedy: "mend that, or unpreserve the file")
        }
        switch (file.kernel.flatMap { KernelFate(rawValue: $0) }, liveUpdate) {
        case (.stays, _): return .dax
        case (.needsLiveUpdate, .carries):
            let size = file.size ?? 0
            return .liveUpdate(filling: size - min(size, file.allocated ?? 0))
        case (.needsLiveUpdate, .endedBySystemd):
            return .none(
                reason: "systemd ends the process that would hold the file until the kernel ends",
                remedy: "give luod's unit the drop-in kexec.conf (docs/kernel-update.md), or put the file on DAX")
        case (.needsLiveUpdate, .missing), (.ends, _), (nil, _):
            return .none(reason: "the file ends with the kernel", remedy: "put its content into a file on DAX")
        }
    }
}

extension LuodStatus.File {
    /// The device and the inode; nil for a lost file, and from a luod that does not say.
    var identity: FileIdentity? {
        guard let device, let inode else { return nil }
        return FileIdentity(device: device, inode: inode)
    }
}

// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import LiveUpdateCommandLine
import LiveUpdateCore
import LiveUpdateKernel
import LiveUpdatePlatform
import SystemPackage

/// The steps of `luoctl kexec` after the preflight: load the kernel, prepare luod, start the kernel.
struct KernelReplacement {
    let situation: KexecSituation
    let preflight: KexecPreflight
    /// The boot ID of this kernel.
    let bootID: String
    let luod: any KernelUpdateDaemon

    /// Ends this kernel. Where systemd runs, this returns when systemd has accepted the order.
    ///
    /// - Throws: the exit code of a failure, after which everything goes on as before.
    func run() throws {
        try load()
        let began = KernelUpdateRecord.Moment.now
        do throws(LiveUpdateError) {
            try luod.prepare(
                KernelUpdateOrder(
                    moment: Self.hasSystemd ? .inStop : .now,
                    leavesBehind: situation.allowances.contains(.leavingBehind),
                    discards: situation.allowances.contains(.discarding)))
        } catch {
            unload()
            throw Exit.failed(error)
        }
        let published = KernelUpdateRecord.Moment.now
        Kexec.writeFileSystems()
        note(freeze: began, published)
        guard let failure = Self.hasSystemd ? startThroughSystemd() : startNow() else { return }
        unload()
        luod.takeBack()
        throw Exit.failed("the next kernel was not started: \(failure); everything goes on as before")
    }

    /// Leaves the record of the update. systemd stops luod later, so that the time of its freeze is not known then.
    private func note(freeze began: KernelUpdateRecord.Moment, _ published: KernelUpdateRecord.Moment) {
        let times = KernelUpdateRecord.Times(
            freezeBegan: Self.hasSystemd ? nil : began, published: Self.hasSystemd ? nil : published, kernelEnded: .now)
        luod.note(
            KernelUpdateRecord(
                release: situation.running.release, bootId: bootID, times: times, files: situation.files,
                accepted: preflight.accepted))
        // The new name of the record is to be on the disk, too.
        Kexec.writeFileSystems()
    }

    // MARK: Load

    private func load() throws {
        do throws(KexecLoadFailure) {
            try situation.next.load()
        } catch {
            let text = error.text(lockdown: situation.lockdown)
            throw Exit.failed("\(situation.next.path.string.shown) was not loaded: \(text)")
        }
    }

    /// Removes the loaded kernel. Otherwise the next systemctl kexec would start it.
    private func unload() { try? Kexec.unload() }

    // MARK: Start

    static var hasSystemd: Bool { (try? FileStatus(at: "/run/systemd/system"))?.isDirectory == true }

    /// Orders systemd to stop all services and to start the next kernel.
    ///
    /// - Returns: the reason why systemd did not accept the order; nil when it did.
    private func startThroughSystemd() -> String? {
        for path in Execution.places(of: "systemctl") {
            guard (try? FileStatus(at: path)) != nil else { continue }
            do throws(SystemCallError) {
                let process = try ChildProcess.start(
                    ProgramImage(path: FilePath(path), arguments: ["systemctl", "--no-ask-password", "kexec"]))
                let status = process.finish()
                return status == 0 ? nil : "systemctl kexec ended with \(status)"
            } catch {
                return "\(path): \(error)"
            }
        }
        return "systemd runs, but systemctl is not in PATH"
    }

    /// Starts the next kernel at once, unless luod has thawed because its process was ended.
    ///
    /// - Returns: the reason why it was not started.
    private func startNow() -> String? {
        do throws(LiveUpdateError) {
            try luod.confirm()
        } catch {
            return "luod does not hold its published state any more: \(error)"
        }
        return start()
    }

    private func start() -> String? {
        do throws(SystemCallError) {
            try Kexec.execute()
        } catch {
            return "\(error)"
        }
    }
}

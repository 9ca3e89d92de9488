// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Glibc
import LiveUpdateCommandLine
import LiveUpdateCore
import LiveUpdateKernel
import LiveUpdatePlatform
import SystemPackage

/// The steps after the preflight: load, prepare, start.
struct KernelReplacement {
    let situation: KexecSituation
    let luod: any KernelUpdateDaemon

    /// Ends this kernel. Where systemd runs, this returns when systemd has accepted the order.
    ///
    /// - Throws: the exit code of a failure, after which everything goes on as before.
    func run() throws {
        try load()
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
        Kexec.writeFileSystems()
        let failure = Self.hasSystemd ? startThroughSystemd() : start()
        guard let failure else { return }
        unload()
        luod.takeBack()
        throw Exit.failed("the next kernel was not started: \(failure); everything goes on as before")
    }

    // MARK: Load

    private func load() throws {
        do throws(SystemCallError) {
            let kernel = try openFile(situation.next.path.string)
            try load(kernel.borrowed)
            // The descriptor stays open until here.
            _ = consume kernel
        } catch {
            let reason = KexecLoadError(error.errno, lockdown: situation.lockdown)
            let message = "\(situation.next.path.string.shown) was not loaded: \(reason.text) (\(error))"
            throw reason.isMissingRight ? Exit.permission(message) : Exit.failed(message)
        }
    }

    private func load(_ kernel: FileDescriptor) throws(SystemCallError) {
        let commandLine = situation.next.commandLine.description
        guard case .file(let path) = situation.next.initrd else {
            return try Kexec.load(kernel: kernel, initrd: nil, commandLine: commandLine)
        }
        let initrd = try openFile(path.string)
        try Kexec.load(kernel: kernel, initrd: initrd.borrowed, commandLine: commandLine)
        // The descriptor stays open until here.
        _ = consume initrd
    }

    /// A kernel that stays loaded would be started by the next systemctl kexec of anyone.
    private func unload() { try? Kexec.unload() }

    // MARK: Start

    private static var hasSystemd: Bool { (try? FileStatus(at: "/run/systemd/system"))?.isDirectory == true }

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
        return "systemctl is missing, and systemd runs"
    }

    private func start() -> String? {
        do throws(SystemCallError) {
            try Kexec.execute()
        } catch {
            return "\(error)"
        }
    }
}

/// The meaning of an error of kexec_file_load(2), with a remedy.
struct KexecLoadError {
    private let errno: Errno
    private let lockdown: String?

    /// - Parameters:
    ///   - errno: the error.
    ///   - lockdown: the lockdown of the running kernel; nil for none.
    init(_ errno: Errno, lockdown: String?) {
        self.errno = errno
        self.lockdown = lockdown
    }

    /// Whether another user could load the kernel. The preflight has found CAP_SYS_BOOT, so it is mostly not so.
    var isMissingRight: Bool { errno == .notPermitted && lockdown == nil }

    var text: String {
        if errno == .notPermitted, let lockdown {
            return
                "the running kernel is locked down (\(lockdown)), and does not trust the signature of the image: use a "
                + "kernel with a signature that the running one trusts, or start the machine without lockdown"
        }
        return general
    }

    private var general: String {
        switch errno.rawValue {
        case EPERM:
            "this process lacks CAP_SYS_BOOT, loading is disabled (kernel.kexec_load_disabled), or the kernel is locked "
                + "down: run as root, or use a signed kernel"
        case ENOEXEC: "this kernel does not know the format of the image: use a bzImage for this processor"
        case ENOMEM: "there is not enough memory for the image and the initial RAM disk: release some"
        case EBUSY: "another kernel is being loaded, or the memory of the crash kernel is in use: try again"
        case EINVAL:
            "the kernel refuses the image, the initial RAM disk or the command line: try without --append, or another "
                + "kernel"
        case ENOSYS: "this kernel is built without kexec_file_load(2): boot one with CONFIG_KEXEC_FILE"
        case ENOPKG, EBADMSG, ELIBBAD, ENOKEY, EKEYEXPIRED, EKEYREVOKED, EKEYREJECTED:
            "its signature is missing, or not of a key that this machine trusts: use a signed kernel of the distribution"
        case EADDRNOTAVAIL: "there is no free range of memory for it: release memory, or make DAX regions smaller"
        default: "the kernel refuses it"
        }
    }
}

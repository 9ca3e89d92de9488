// SPDX-License-Identifier: Apache-2.0
package import LiveUpdatePlatform
package import SystemPackage

/// The choice of the next kernel: the options of `luoctl kexec`.
package struct KexecChoice: Sendable {
    /// The initial RAM disk.
    package enum InitialRAMDisk: Sendable {
        /// The one in /boot of the next kernel's release.
        case ofRelease
        case file(FilePath)
        case none
    }

    /// The image; nil for the running release's in /boot.
    package var kernel: FilePath?
    package var initrd: InitialRAMDisk
    /// The command line; nil for the running kernel's.
    package var commandLine: KernelCommandLine?
    /// Arguments that are added to the command line.
    package var appended: KernelCommandLine
    /// The image of the running kernel; nil for the one in /boot.
    package var runningKernel: FilePath?

    package init(
        kernel: FilePath? = nil, initrd: InitialRAMDisk = .ofRelease, commandLine: KernelCommandLine? = nil,
        appended: KernelCommandLine = KernelCommandLine(""), runningKernel: FilePath? = nil
    ) {
        self.kernel = kernel
        self.initrd = initrd
        self.commandLine = commandLine
        self.appended = appended
        self.runningKernel = runningKernel
    }
}

/// Reads the ``KexecSituation`` of this machine.
package struct KexecSurvey {
    private let root: String

    /// Looks at the machine below a directory, which is empty for this machine.
    package init(root: String = "") { self.root = root }

    /// Reads everything that the preflight judges. Nothing is changed. A file that cannot be read is a problem of the
    /// preflight, and no error.
    ///
    /// - Throws: ENOENT without /proc, EACCES and other errors of reading procfs and sysfs.
    package func situation(
        _ choice: KexecChoice, daemon: KexecSituation.Daemon, allowances: KexecSituation.Allowances
    ) throws(SystemCallError) -> KexecSituation {
        let release = String(try readWhole("\(root)/proc/sys/kernel/osrelease").trimmed)
        let commandLine = KernelCommandLine(try readWhole("\(root)/proc/cmdline"))
        let next = next(choice, release: release, running: commandLine)
        // Only a kernel that hands something over has formats that matter.
        let hasLiveUpdate =
            commandLine.isOn("kho") || (try? FileStatus(at: root + KernelOrchestrator.devicePath)) != nil
        let formats = hasLiveUpdate ? runningFormats(choice, release, next) : .success(KernelFormats())
        return KexecSituation(
            loading: loading, lockdown: lockdown, isSecureBoot: isSecureBoot,
            mayLoad: Capabilities.state(of: .reboot).permitted,
            running: KexecSituation.Running(
                release: release, commandLine: commandLine, hasLiveUpdate: hasLiveUpdate, formats: formats),
            next: next, regions: try DaxSurvey.regions(root: root), daemon: daemon,
            availableMemory: (try? LiveUpdatePlatform.availableMemory()) ?? 0, allowances: allowances)
    }

    // MARK: This kernel

    private var loading: KexecSituation.Loading {
        guard let disabled = try? readNumber("\(root)/proc/sys/kernel/kexec_load_disabled") else { return .missing }
        if disabled != 0 { return .disabled }
        // -1 stands for no limit.
        let limit = try? readWhole("\(root)/proc/sys/kernel/kexec_load_limit_reboot")
        return limit?.trimmed == "0" ? .limited : .possible
    }

    /// The word in brackets: `none [integrity] confidentiality`
    private var lockdown: String? {
        guard let text = try? readWhole("\(root)/sys/kernel/security/lockdown"),
            let word = text.split(separator: " ").first(where: { $0.hasPrefix("[") })
        else { return nil }
        let mode = word.trimmed.dropFirst().dropLast()
        return mode == "none" ? nil : String(mode)
    }

    /// The variable SecureBoot of the firmware: four bytes of attributes, and the value.
    private var isSecureBoot: Bool {
        let path = "\(root)/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
        return (try? readBeginning(path, 5))?.dropFirst(4).first == 1
    }

    // MARK: The next kernel

    private func next(_ choice: KexecChoice, release: String, running: KernelCommandLine) -> KexecSituation.Next {
        let path = choice.kernel ?? installedKernel(release)
        let file = Result { () throws(KernelFile.Failure) in try KernelFile.read(path) }
        let nextRelease = (try? file.get().image?.release) ?? (choice.kernel == nil ? release : nil)
        return KexecSituation.Next(
            path: path, file: file, initrd: initrd(choice.initrd, nextRelease ?? release),
            commandLine: (choice.commandLine ?? running.forNextKernel).appending(choice.appended))
    }

    /// The image of a release. Distributions have it in different places.
    private func installedKernel(_ release: String) -> FilePath {
        let places = ["/boot/vmlinuz-\(release)", "/lib/modules/\(release)/vmlinuz"].map { FilePath(root + $0) }
        return places.first { (try? FileStatus(at: $0.string)) != nil } ?? places[0]
    }

    private func initrd(_ choice: KexecChoice.InitialRAMDisk, _ release: String) -> KexecSituation.InitialRAMDisk {
        switch choice {
        case .none: return .none
        case .file(let path): return Self.looked(path)
        case .ofRelease:
            let names = ["initrd.img-\(release)", "initramfs-\(release).img", "initrd-\(release)"]
            let places = names.map { FilePath("\(root)/boot/\($0)") }
            let found = places.first { (try? FileStatus(at: $0.string)) != nil }
            return found.map(Self.looked) ?? .missing(places)
        }
    }

    private static func looked(_ path: FilePath) -> KexecSituation.InitialRAMDisk {
        do throws(SystemCallError) {
            let file = try openFile(path.string)
            guard try FileStatus(of: file.borrowed).isRegular else { return .unreadable(path, .invalidArgument) }
            return .file(path)
        } catch {
            return .unreadable(path, error.errno)
        }
    }

    // MARK: Formats

    /// The formats of the running kernel, from its image. The image in /boot can be a later build of the same release.
    private func runningFormats(
        _ choice: KexecChoice, _ release: String, _ next: KexecSituation.Next
    ) -> Result<KernelFormats, KexecSituation.UnknownFormats> {
        func unknown(_ reason: String) -> Result<KernelFormats, KexecSituation.UnknownFormats> {
            .failure(KexecSituation.UnknownFormats(reason: reason))
        }
        let path = choice.runningKernel ?? installedKernel(release)
        let file: KernelFile
        do throws(KernelFile.Failure) {
            file = path == next.path ? try next.file.get() : try KernelFile.read(path)
        } catch {
            switch error {
            case .unreadable(let errno): return unknown("\(path) cannot be read: \(errno)")
            case .defective(let defect): return unknown("\(path): \(defect)")
            }
        }
        let build = (try? readWhole("\(root)/proc/sys/kernel/version")).map { String($0.trimmed) } ?? ""
        guard let version = file.image?.version, version.hasPrefix("\(release) "), version.hasSuffix(build) else {
            return unknown("\(path) is another build than the running kernel (\(release), \(build))")
        }
        return file.formats.mapError { failure in
            KexecSituation.UnknownFormats(reason: "\(path): \(failure)")
        }
    }
}

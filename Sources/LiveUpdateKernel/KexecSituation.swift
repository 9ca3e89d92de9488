// SPDX-License-Identifier: Apache-2.0
package import LiveUpdatePlatform
package import SystemPackage

/// Everything that decides whether the kernel can be replaced now, and whether the sessions reach the next kernel.
/// ``KexecPreflight`` judges it, without I/O.
package struct KexecSituation: Sendable {
    /// Whether the running kernel loads another one.
    package enum Loading: Equatable, Sendable {
        case possible
        /// The kernel is built without kexec.
        case missing
        /// `kernel.kexec_load_disabled` is 1, until the next boot.
        case disabled
        /// `kernel.kexec_load_limit_reboot` allows no further load.
        case limited
    }

    /// The kernel that runs.
    package struct Running: Sendable {
        /// The release, as uname(1) prints it.
        package var release: String
        /// Its command line.
        package var commandLine: KernelCommandLine
        /// Whether it may hand something over to the next kernel: it was started with `kho=on`, or has /dev/liveupdate.
        package var hasLiveUpdate: Bool
        /// Its formats, or the reason in words why they are not known. Only read with ``hasLiveUpdate``.
        package var formats: Result<KernelFormats, UnknownFormats>

        package init(
            release: String, commandLine: KernelCommandLine, hasLiveUpdate: Bool,
            formats: Result<KernelFormats, UnknownFormats>
        ) {
            self.release = release
            self.commandLine = commandLine
            self.hasLiveUpdate = hasLiveUpdate
            self.formats = formats
        }
    }

    /// The reason why the formats of the running kernel are not known.
    package struct UnknownFormats: Error, Equatable, Sendable {
        /// The reason in words.
        package let reason: String

        package init(reason: String) { self.reason = reason }
    }

    /// The initial RAM disk of the next kernel.
    package enum InitialRAMDisk: Equatable, Sendable {
        /// The next kernel gets none, as asked for.
        case none
        /// A file that can be read.
        case file(FilePath)
        /// A file that cannot be read.
        case unreadable(FilePath, Errno)
        /// None was named, and none of these exists.
        case missing([FilePath])
    }

    /// The next kernel.
    package struct Next: Sendable {
        /// The path of the image.
        package var path: FilePath
        /// The image.
        package var file: Result<KernelFile, KernelFile.Failure>
        /// The initial RAM disk.
        package var initrd: InitialRAMDisk
        /// The command line.
        package var commandLine: KernelCommandLine

        package init(
            path: FilePath, file: Result<KernelFile, KernelFile.Failure>, initrd: InitialRAMDisk,
            commandLine: KernelCommandLine
        ) {
            self.path = path
            self.file = file
            self.initrd = initrd
            self.commandLine = commandLine
        }
    }

    /// The state of luod.
    package enum Daemon: Equatable, Sendable {
        /// No luod answers, for this reason.
        case absent(reason: String)
        /// A luod to which this user may not connect.
        case hidden(reason: String)
        /// luod runs. Its sessions have these files, and the incoming sessions in these words are not finished.
        case running(files: [CarriedFile], unfinished: [String])
        /// luod runs, and cannot take part, for this reason.
        case unable(reason: String, remedy: String)
    }

    /// Problems that the caller accepts.
    package struct Allowances: OptionSet, Sendable {
        package let rawValue: UInt8
        package init(rawValue: UInt8) { self.rawValue = rawValue }

        /// An image with formats that cannot be read: `--unchecked-image`.
        package static let uncheckedImage = Allowances(rawValue: 1)
        /// Files without a carrier, which are lost: `--leave-behind`.
        package static let leavingBehind = Allowances(rawValue: 2)
        /// Incoming sessions that are not finished, which are lost: `--discard`.
        package static let discarding = Allowances(rawValue: 4)
        /// No luod: `--without-luod`.
        package static let withoutDaemon = Allowances(rawValue: 8)
    }

    /// Whether the running kernel loads another one.
    package var loading: Loading
    /// The lockdown of the running kernel: `integrity` or `confidentiality`; nil for none.
    package var lockdown: String?
    /// Whether the machine was started with secure boot.
    package var isSecureBoot: Bool
    /// Whether this process has CAP_SYS_BOOT.
    package var mayLoad: Bool
    /// The kernel that runs.
    package var running: Running
    /// The next kernel.
    package var next: Next
    /// The DAX regions of this machine.
    package var regions: [DaxRegion]
    /// The state of luod.
    package var daemon: Daemon
    /// The memory that is available for new pages, in bytes.
    package var availableMemory: UInt64
    /// The problems that the caller accepts.
    package var allowances: Allowances

    package init(
        loading: Loading, lockdown: String?, isSecureBoot: Bool, mayLoad: Bool, running: Running, next: Next,
        regions: [DaxRegion], daemon: Daemon, availableMemory: UInt64, allowances: Allowances
    ) {
        self.loading = loading
        self.lockdown = lockdown
        self.isSecureBoot = isSecureBoot
        self.mayLoad = mayLoad
        self.running = running
        self.next = next
        self.regions = regions
        self.daemon = daemon
        self.availableMemory = availableMemory
        self.allowances = allowances
    }

    /// The files of luod's sessions.
    package var files: [CarriedFile] {
        if case .running(let files, _) = daemon { return files }
        return []
    }

    /// Whether a file goes with the kernel's Live Update Orchestrator.
    package var usesLiveUpdate: Bool {
        files.contains { if case .liveUpdate = $0.carrier { true } else { false } }
    }
}

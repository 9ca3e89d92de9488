// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import SystemPackage

/// The judgement of a ``KexecSituation``: all problems at once, each with its remedy.
///
/// 1. Can this kernel load another one, and may this process?
/// 2. Can the image, the initial RAM disk and the command line be loaded?
/// 3. Does the next kernel leave each DAX region alone that has something on it?
/// 4. Does the next kernel take what the Live Update Orchestrator of this kernel hands over?
/// 5. Does every file of luod's sessions have a carrier?
package struct KexecPreflight: Sendable {
    /// The problems that stop the update.
    package private(set) var problems: [KexecProblem] = []
    /// The problems that the caller has accepted.
    package private(set) var accepted: [KexecProblem] = []
    /// Facts that the user should know. They do not stop the update.
    package private(set) var notes: [String] = []

    private let situation: KexecSituation

    /// Judges a situation.
    package init(_ situation: KexecSituation) {
        self.situation = situation
        checkRight()
        checkImage()
        checkInitrd()
        checkCommandLine()
        checkRegions()
        checkLiveUpdate()
        checkDaemon()
    }

    /// Whether all problems are rights that this process lacks: another user could do it.
    package var lacksOnlyRights: Bool {
        !problems.isEmpty && problems.allSatisfy { [.noRight, .regionHidden, .daemonHidden].contains($0.kind) }
    }

    private mutating func add(
        _ kind: KexecProblem.Kind, on subject: String, _ reason: String, remedy: String
    ) {
        let problem = KexecProblem(kind, on: subject, reason, remedy: remedy)
        if let allowance = kind.allowance, situation.allowances.contains(allowance) {
            accepted.append(problem)
        } else {
            problems.append(problem)
        }
    }

    // MARK: This kernel

    private mutating func checkRight() {
        let kernel = "kernel \(situation.running.release)"
        switch situation.loading {
        case .possible: break
        case .missing:
            add(.noKexec, on: kernel, "it is built without kexec", remedy: "boot a kernel with CONFIG_KEXEC_FILE")
        case .disabled:
            add(
                .kexecDisabled, on: kernel, "kernel.kexec_load_disabled is 1, which lasts until the next boot",
                remedy: "restart the machine without this setting: look into /etc/sysctl.d")
        case .limited:
            add(
                .kexecDisabled, on: kernel, "kernel.kexec_load_limit_reboot is 0, which lasts until the next boot",
                remedy: "restart the machine without this setting: look into /etc/sysctl.d")
        }
        if !situation.mayLoad {
            add(.noRight, on: "this process", "it lacks CAP_SYS_BOOT", remedy: "run luoctl kexec as root")
        }
    }

    // MARK: The next kernel

    private var image: KernelImage? { try? situation.next.file.get().image }

    private mutating func checkImage() {
        let path = situation.next.path.string
        switch situation.next.file {
        case .failure(.unreadable(let error)):
            add(
                .kernelMissing, on: path, "the image cannot be read: \(error)",
                remedy: "name another with --kernel FILE")
        case .failure(.defective(let defect)):
            add(
                .kernelDefective, on: path, "\(defect)",
                remedy: "install the kernel again, or name another with --kernel FILE")
        case .success(let file): check(file)
        }
    }

    private mutating func check(_ file: KernelFile) {
        if let image = file.image, !image.isSigned, let reason = needForSignature {
            add(
                .unsigned, on: file.path.string, "the image is not signed, and \(reason)",
                remedy: "use a signed kernel of the distribution")
        }
        guard case .failure(let failure) = file.formats else { return }
        let remedy = failure.package.map { "install \($0)" } ?? "install the kernel again"
        add(
            .kernelNotUnpacked, on: file.path.string, "\(failure)",
            remedy: "\(remedy), or go on without this check with --unchecked-image")
    }

    private var needForSignature: String? {
        if let lockdown = situation.lockdown { return "the running kernel is locked down (\(lockdown))" }
        return situation.isSecureBoot ? "the machine was started with secure boot" : nil
    }

    private mutating func checkInitrd() {
        switch situation.next.initrd {
        case .none, .file: break
        case .unreadable(let path, let error):
            add(
                .initrdMissing, on: path.string, "it cannot be read: \(error)",
                remedy: "name another with --initrd FILE")
        case .missing(let places):
            add(
                .initrdMissing, on: places.first?.string ?? "initrd", "there is no initial RAM disk for the kernel",
                remedy: "make it (update-initramfs -c), name one with --initrd FILE, or say --no-initrd")
        }
    }

    private mutating func checkCommandLine() {
        let length = situation.next.commandLine.description.utf8.count
        guard let limit = image?.commandLineLimit, length > limit else { return }
        add(
            .commandLineTooLong, on: commandLine, "it has \(length) bytes, and the kernel takes \(limit)",
            remedy: "give a shorter one with --cmdline LINE")
    }

    private let commandLine = "the next command line"

    // MARK: DAX

    private mutating func checkRegions() {
        for region in situation.regions {
            if region.isUsed {
                check(region)
            } else if let entry = region.entry(in: situation.running.commandLine),
                !situation.next.commandLine.memmaps.contains(entry)
            {
                notes.append(
                    "\(region.name) is not used, and becomes ordinary memory: \(entry.argument) is not repeated")
            }
            for device in region.devices { check(device, on: region) }
        }
    }

    private mutating func check(_ region: DaxRegion) {
        guard let range = region.range else {
            if region.source == .e820 {
                add(
                    .regionHidden, on: region.subject, "the kernel hides its address from this user",
                    remedy: "run luoctl kexec as root")
            }
            return
        }
        let needed = region.entry(in: situation.running.commandLine)
        let next = situation.next.commandLine.memmaps
        if let needed, !next.contains(needed) {
            add(
                .memmapMissing, on: region.subject,
                "the next command line lacks \(needed.argument), without which the next kernel overwrites the region",
                remedy: "add --append '\(needed.argument)'")
        }
        for other in next where other != needed && other.range.overlaps(range) {
            add(
                .memmapConflict, on: region.subject,
                "\(other.argument) of the next command line overlaps with it (\(range.hexadecimal))",
                remedy: "leave \(other.argument) out with --cmdline LINE")
        }
    }

    /// Unless the command line says otherwise, a kernel uses devdax memory of CXL and of the firmware's special
    /// purposes as its own.
    private mutating func check(_ device: DaxDevice, on region: DaxRegion) {
        guard case .device = device.content, [.cxl, .softReserved].contains(region.source),
            region.name == device.name
        else { return }
        let next = situation.next.commandLine
        let lists = next.values("modprobe.blacklist") + next.values("module_blacklist")
        if !lists.contains(where: { $0?.split(separator: ",").contains("kmem") == true }) {
            add(
                .devdaxBecomesRAM, on: device.path, "the module kmem of the next kernel may make it ordinary memory",
                remedy: "add --append modprobe.blacklist=kmem")
        }
        if next.values("efi").contains(where: { $0?.split(separator: ",").contains("nosoftreserve") == true }) {
            add(
                .devdaxBecomesRAM, on: device.path,
                "efi=nosoftreserve of the next command line makes it ordinary memory",
                remedy: "leave efi=nosoftreserve out with --cmdline LINE")
        }
    }

    // MARK: The kernel's Live Update Orchestrator

    private mutating func checkLiveUpdate() {
        let next = situation.next.commandLine
        if situation.usesLiveUpdate {
            let missing = ["kho", "liveupdate"].filter { !next.isOn($0) }.map { "\($0)=on" }
            if !missing.isEmpty {
                add(
                    .liveUpdateOff, on: commandLine,
                    "it lacks \(missing.joined(separator: " ")), and files go with the kernel's Live Update Orchestrator",
                    remedy: "add --append '\(missing.joined(separator: " "))'")
            }
        }
        // A next kernel with kho=off looks at nothing that this one hands over.
        let isOff = next.values("kho").last != nil && !next.isOn("kho")
        if situation.running.hasLiveUpdate, situation.usesLiveUpdate || !isOff { compareFormats() }
    }

    private mutating func compareFormats() {
        guard case .success(let file) = situation.next.file, case .success(let next) = file.formats else { return }
        let path = situation.next.path.string
        switch situation.running.formats {
        case .failure(let unknown):
            add(
                .formatsUnknown, on: "kernel \(situation.running.release)",
                "its formats cannot be compared with those of the next kernel: \(unknown.reason)",
                remedy: "name its image with --running-kernel FILE, or go on without this check with --unchecked-image")
        case .success(let running):
            // A next kernel without handover looks at nothing.
            guard situation.usesLiveUpdate || !next.of("kho").isEmpty else { return }
            let families = KernelFormats.families.filter { running.of($0) != next.of($0) }
            guard !families.isEmpty else { return }
            add(
                .formatsDiffer, on: path,
                "this kernel hands over \(Self.list(running, families)), and the next one takes \(Self.list(next, families))",
                remedy: "use a kernel with the same formats, or restart the machine without sessions")
        }
    }

    private static func list(_ formats: KernelFormats, _ families: [String]) -> String {
        let names = families.flatMap { formats.of($0).sorted() }
        return names.isEmpty ? "none of that" : names.joined(separator: ", ")
    }

    // MARK: luod

    private mutating func checkDaemon() {
        switch situation.daemon {
        case .absent(let reason):
            add(
                .noDaemon, on: "luod", "it does not answer, so memory files of its sessions would be lost: \(reason)",
                remedy:
                    "start luod or name its state with --state, or replace the kernel without it with --without-luod; "
                    + "sessions of a state on DAX, and their files there, are found again")
        case .hidden(let reason):
            add(
                .daemonHidden, on: "luod", "its sessions and files cannot be checked: \(reason)",
                remedy: "run luoctl kexec as root")
        case .unable(let reason, let remedy): add(.daemonUnable, on: "luod", reason, remedy: remedy)
        case .running(let files, let unfinished):
            if situation.allowances.contains(.withoutDaemon) {
                add(
                    .daemonIgnored, on: "luod", "it runs, and would lose its sessions",
                    remedy: "leave out --without-luod")
            }
            for file in files { check(file) }
            checkMemory(files)
            for session in unfinished {
                add(
                    .unfinished, on: session, "the session is not finished",
                    remedy: "finish it first, or lose it with --discard")
            }
        }
    }

    private mutating func check(_ file: CarriedFile) {
        guard case .none(let reason, let remedy) = file.carrier else { return }
        add(
            .noCarrier, on: "\(file.subject) (\(file.handler))", reason,
            remedy: "\(remedy), or lose it with --leave-behind")
    }

    private mutating func checkMemory(_ files: [CarriedFile]) {
        // The kernel fills the holes of a file once, however many sessions have the file.
        var counted: Set<FileIdentity> = []
        let filled = files.reduce(UInt64(0)) { sum, file in
            guard case .liveUpdate(let bytes) = file.carrier else { return sum }
            if let identity = file.identity, !counted.insert(identity).inserted { return sum }
            return sum.addingReportingOverflow(bytes).overflow ? .max : sum + bytes
        }
        guard filled > situation.availableMemory else { return }
        add(
            .noMemory, on: "the kernel's Live Update Orchestrator",
            "it would fill holes of files with \(filled >> 20) MiB, and \(situation.availableMemory >> 20) MiB are available",
            remedy: "release memory, or unpreserve the files with the largest holes")
    }
}

extension DaxRegion {
    /// The region with its devices, for messages: `region0 (pmem0: ext4 on /mnt/dax)`
    var subject: String {
        let devices = devices.map { device in
            switch device.content {
            case .fileSystem(let type, let mounts):
                "\(device.name): \(type)\(mounts.first.map { " on \($0.point)" } ?? "")"
            case .device: "\(device.name): devdax"
            case .unknown, .empty, .systemRAM: device.name
            }
        }
        return devices.isEmpty ? name : "\(name) (\(devices.joined(separator: ", ")))"
    }
}

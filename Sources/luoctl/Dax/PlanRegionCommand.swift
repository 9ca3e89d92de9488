// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import LiveUpdateCommandLine
import LiveUpdateKernel
import LiveUpdatePlatform
import SystemPackage

/// `luoctl dax plan`
struct PlanRegionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Say how to make a DAX region from ordinary memory: the kernel's argument, and the commands.",
        discussion: """
            The region is in System RAM of /proc/iomem, above 4 GiB and aligned to 1 GiB where possible. It does not \
            overlap with the kernel, its crash kernel and other memmap= ranges. At least 1 GiB is left to the kernel. \
            Where regions are there already, label and mount point are others than theirs. Only root sees the addresses \
            of /proc/iomem. Nothing is changed.
            """)

    @Option(help: "The size of the region: 64G, or another multiple of 128M.", transform: ByteCount.parse)
    var size: UInt64

    @Option(
        help: "The mount point of the file system. (default: /mnt/dax, or the next free /mnt/daxN)",
        completion: .directory)
    var mount: String?

    @Option(
        help: "Plan for another machine, by a copy of its /proc/iomem that root has made.", completion: .file())
    var iomem: String?

    @Option(help: "The command line of that machine's kernel. (default: none with --iomem, else the running kernel's)")
    var cmdline: String?

    @Flag(help: "Print JSON, for machines: docs/kernel-update.md describes it.")
    var json = false

    func validate() throws {
        guard mount.map({ $0.hasPrefix("/") && !$0.contains(where: \.isWhitespace) }) ?? true else {
            throw ValidationError("--mount takes an absolute path without white space")
        }
    }

    func run() throws {
        let map = MemoryMap(try read(iomem, "/proc/iomem"))
        let commandLine = KernelCommandLine(try cmdline ?? (iomem == nil ? read(nil, "/proc/cmdline") : ""))
        do throws(DaxPlan.Failure) {
            let plan = try DaxPlan(size: size, in: map, commandLine: commandLine)
            let report = DaxPlanReport(plan: plan, names: try names(plan.others.count))
            print(json ? report.json : report.text)
        } catch {
            throw exitCode(of: error)
        }
    }

    /// The names for the file system. Another machine is known only by its command line.
    private func names(_ others: Int) throws(DaxPlan.Failure) -> DaxPlanNames {
        guard iomem == nil else { return DaxPlanNames(others: others, mountPoints: [], mount: mount) }
        let regions = (try? DaxSurvey.regions()) ?? []
        let mounts = (try? Mount.all()) ?? []
        return DaxPlanNames(
            others: max(others, regions.count), mountPoints: Set(mounts.map(\.point.string)), mount: mount)
    }

    private func read(_ path: String?, _ usual: String) throws -> String {
        if let path { return String(decoding: try InputFile.read(path), as: UTF8.self) }
        do throws(SystemCallError) {
            return try readWhole(usual)
        } catch {
            throw Exit.unavailable("\(usual) cannot be read: \(error); is /proc mounted?")
        }
    }

    private func exitCode(of failure: DaxPlan.Failure) -> ExitCode {
        let asked = MemoryAmount.text(size)
        func amount(_ bytes: UInt64) -> String { MemoryAmount.text(bytes) }
        switch failure {
        case .hidden:
            return iomem == nil
                ? Exit.permission(
                    "the kernel hides the addresses of /proc/iomem from this user: run luoctl dax plan as root")
                : Exit.usage("all addresses in \(iomem ?? "") are zero: copy /proc/iomem as root")
        case .noMemoryMap:
            return Exit.usage(
                "\(iomem ?? "/proc/iomem") has no range named System RAM: copy /proc/iomem of the machine")
        case .tooSmall:
            return Exit.usage("--size \(asked) is too small: give 128M or more")
        case .unaligned(let below, let above):
            let sizes = ([below] + (above.map { [$0] } ?? [])).map(amount).joined(separator: " or ")
            return Exit.usage(
                "--size \(asked) is no multiple of 128M, the section of the kernel's memory: try \(sizes)")
        case .notEnoughMemory(let ram, let most):
            return Exit.unavailable(
                "the machine has \(ByteCount.text(ram)) of System RAM, of which 1 GiB is left to the kernel: "
                    + "\(asked) is too much; \(Self.remedy(most))")
        case .noPlace(let most):
            return Exit.unavailable("no range of System RAM has \(asked) in one piece; \(Self.remedy(most))")
        }
    }

    private static func remedy(_ most: UInt64) -> String {
        most == 0 ? "the machine has no room for a region" : "try --size \(MemoryAmount.text(most))"
    }
}

/// The plan, for people and for machines.
struct DaxPlanReport {
    let plan: DaxPlan
    let names: DaxPlanNames

    private let modules = ["nd_pmem", "nd_e820"]

    private var argument: String { plan.region.argument }
    private var start: String { "0x\(String(plan.region.range.lowerBound, radix: 16))" }
    /// The commands for the file system. Kernels number disks as they like, so that of several disks the right one is
    /// found by the address of its region.
    private var fileSystemCommands: [String] {
        let find =
            "region=$(dirname \"$(grep -lx \(start) /sys/bus/nd/devices/region*/resource)\") && "
            + "disk=/dev/$(ls \"$region\"/namespace*/block)"
        let disk = names.isOnlyDisk ? "/dev/pmem0" : "\"$disk\""
        return (names.isOnlyDisk ? [] : [find])
            + [
                "mkfs.ext4 -b 4096 -L \(names.label) \(disk)", "mkdir -p \(names.mount)",
                "mount -o dax LABEL=\(names.label) \(names.mount)",
            ]
    }
    /// After a loss of power the memory has no file system. Without `nofail` the machine would not start then.
    private var tableLine: String { "LABEL=\(names.label) \(names.mount) ext4 dax,nofail 0 2" }
    private var namespace: String { names.isOnlyDisk ? "namespace0.0" : "namespaceN.0" }
    private var grubLine: String { "GRUB_CMDLINE_LINUX=\"… \(argument)\"" }

    private var notes: [String] {
        var notes: [String] = []
        if plan.alignment < 1 << 30 {
            notes.append(
                "aligned to 128 MiB: no place is aligned to 1 GiB, so devdax mappings of 1 GiB are not possible")
        }
        if !plan.isAbove4G {
            notes.append("below 4 GiB: there is no room above, so devices that address no more have less memory")
        }
        if !plan.others.isEmpty {
            notes.append(
                "the command line has \(plan.others.map(\.argument).joined(separator: " ")) already, which stays")
        }
        if !names.isOnlyDisk {
            notes.append(
                "the machine has other regions, and a kernel numbers them as it likes: luoctl dax says which one begins at "
                    + "\(start)")
        }
        return notes
    }

    // MARK: For people

    var text: String {
        let range = plan.region.range
        return """
            kernel argument:  \(argument)
            region:           \(range.hexadecimal), aligned to \(ByteCount.text(plan.alignment))
            inside:           \(plan.surroundings.hexadecimal) System RAM
            left to kernel:   \(ByteCount.text(plan.remaining))
            \(notes.map { "note:             \($0)\n" }.joined())
            1. Add the argument to the kernel's command line, for GRUB in /etc/default/grub:
                 \(grubLine)
               and run update-grub (Debian, Ubuntu) or grub2-mkconfig -o /boot/grub2/grub.cfg. The "!" needs no escape
               there. In a shell, write it in single quotes: '\(argument)'.
            2. Restart the machine.
            3. Load the drivers, now and at each start:
                 modprobe -a \(modules.joined(separator: " "))
                 printf '%s\\n' \(modules.joined(separator: " ")) >/etc/modules-load.d/luo-dax.conf
            4. Make a file system and mount it, once luoctl dax shows the region:
            \(fileSystemCommands.map { "     \($0)" }.joined(separator: "\n"))
               The line for /etc/fstab, because the number of the disk can change:
                 \(tableLine)
               Or map it as a whole, without a file system, as devdax:
                 modprobe -a dax_pmem device_dax
                 ndctl create-namespace -f -e \(namespace) -m devdax -a 2M

            Nothing was changed. Every later kernel needs the argument, too: luoctl kexec checks that.
            """
    }

    // MARK: For machines

    var json: String {
        struct Output: Encodable {
            let version = 1
            let argument: String
            let start: UInt64
            let size: UInt64
            let alignment: UInt64
            let isAboveFourGib: Bool
            let remaining: UInt64
            let modules: [String]
            let commands: [String]
            let fstab: String
            let notes: [String]
        }
        return jsonText(
            Output(
                argument: argument, start: plan.region.range.lowerBound, size: plan.region.range.size,
                alignment: plan.alignment, isAboveFourGib: plan.isAbove4G, remaining: plan.remaining, modules: modules,
                commands: fileSystemCommands, fstab: tableLine, notes: notes))
    }
}

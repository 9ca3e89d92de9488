// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import SystemPackage
import TestSupport
import Testing

@testable import LiveUpdateKernel

/// The judgement of a situation: a good one has no problem, and each change of it has exactly the expected ones.
@Suite struct KexecPreflightTests {
    private typealias Kind = KexecProblem.Kind

    // MARK: A good situation

    private static let memmap = "memmap=256M!1G"
    private static let formats = KernelFormats(["kho-v4", "luo-v5", "memfd-v2"])

    private static func image(_ change: (inout MadeHeader) -> Void = { _ in }) -> KernelFile {
        var header = MadeHeader()
        change(&header)
        return KernelFile(
            path: "/boot/vmlinuz-7.3.4", image: try? header.image(), formats: header.formats, content: [])
    }

    /// The parts of an image that the preflight looks at.
    private struct MadeHeader {
        var isSigned = false
        var formats: Result<KernelFormats, KernelFile.UnpackingFailure> = .success(KexecPreflightTests.formats)

        func image() throws -> KernelImage { try KernelImage(try MadeImage(isSigned: isSigned).bytes()) }
    }

    private static func region(
        _ name: String = "region0", _ source: DaxRegion.Source = .e820, start: UInt64? = 1 << 30,
        size: UInt64 = 256 << 20,
        device: String = "pmem0",
        content: DaxDevice.Content = .fileSystem(type: "ext4", mounts: [DaxMount(point: "/mnt/dax", rule: .always)])
    ) -> DaxRegion {
        DaxRegion(
            name: name, source: source, start: start, size: size, alignment: nil,
            devices: [DaxDevice(name: device, start: start, size: size, allowsDAX: true, content: content)])
    }

    private static func file(
        _ carrier: CarriedFile.Carrier, token: String = "7", identity: FileIdentity? = nil
    ) -> CarriedFile {
        CarriedFile(
            user: 1000, session: "vm", token: token, handler: "a-v1", size: 4096, identity: identity, carrier: carrier)
    }

    private static let withoutCarrier = file(.none(reason: "the reason", remedy: "the remedy"))
    private static let byKernel = file(.liveUpdate(filling: 1 << 20))

    private static func good() -> KexecSituation {
        let commandLine = KernelCommandLine("root=/dev/vda1 \(memmap) kho=on liveupdate=on")
        return KexecSituation(
            loading: .possible, lockdown: nil, isSecureBoot: false, mayLoad: true,
            running: KexecSituation.Running(
                release: "7.3.4", commandLine: commandLine, hasLiveUpdate: true, formats: .success(formats)),
            next: KexecSituation.Next(
                path: "/boot/vmlinuz-7.3.4", file: .success(image()), initrd: .file("/boot/initrd.img-7.3.4"),
                commandLine: commandLine),
            regions: [region()], daemon: .running(files: [file(.dax), byKernel], unfinished: []),
            availableMemory: 1 << 30, allowances: [])
    }

    private static func line(_ text: String) -> KernelCommandLine { KernelCommandLine(text) }

    // MARK: The table

    private struct Case: CustomTestStringConvertible {
        let testDescription: String
        let kinds: [Kind]
        let change: @Sendable (inout KexecSituation) -> Void

        init(_ name: String, _ kinds: [Kind], _ change: @escaping @Sendable (inout KexecSituation) -> Void) {
            testDescription = name
            self.kinds = kinds
            self.change = change
        }
    }

    private static let cases: [Case] = [
        Case("good", []) { _ in },
        // This kernel.
        Case("without kexec", [.noKexec]) { $0.loading = .missing },
        Case("disabled", [.kexecDisabled]) { $0.loading = .disabled },
        Case("limited", [.kexecDisabled]) { $0.loading = .limited },
        Case("no right", [.noRight]) { $0.mayLoad = false },
        Case("lockdown", [.unsigned]) { $0.lockdown = "integrity" },
        Case("secure boot", [.unsigned]) { $0.isSecureBoot = true },
        Case("signed in a lockdown", []) {
            $0.lockdown = "integrity"
            $0.next.file = .success(image { $0.isSigned = true })
        },
        // The next kernel.
        Case("no image", [.kernelMissing]) { $0.next.file = .failure(.unreadable(.noSuchFileOrDirectory)) },
        Case("a bad image", [.kernelDefective]) {
            $0.next.file = .failure(.defective(KernelImage.Defect(description: "bad")))
        },
        Case("no program", [.kernelNotUnpacked]) {
            $0.next.file = .success(image { $0.formats = .failure(.noProgram("zstd")) })
        },
        Case("damaged", [.kernelNotUnpacked]) {
            $0.next.file = .success(image { $0.formats = .failure(.failed("why")) })
        },
        Case("damaged, accepted", []) {
            $0.next.file = .success(image { $0.formats = .failure(.failed("why")) })
            $0.allowances = .uncheckedImage
        },
        Case("no initrd", [.initrdMissing]) { $0.next.initrd = .missing(["/boot/initrd.img-7.3.4"]) },
        Case("an initrd that cannot be read", [.initrdMissing]) {
            $0.next.initrd = .unreadable("/x", .permissionDenied)
        },
        Case("no initrd, as asked for", []) { $0.next.initrd = .none },
        Case("a long command line", [.commandLineTooLong]) {
            $0.next.commandLine = $0.next.commandLine.appending(line(String(repeating: "x", count: 2000)))
        },
        // DAX.
        Case("memmap= missing", [.memmapMissing]) { $0.next.commandLine = line("kho=on liveupdate=on") },
        Case("memmap= of another size", [.memmapMissing, .memmapConflict]) {
            $0.next.commandLine = line("memmap=512M!1G kho=on liveupdate=on")
        },
        Case("memmap= as ordinary memory", [.memmapConflict]) {
            $0.next.commandLine = $0.next.commandLine.appending(line("memmap=64M@1088M"))
        },
        Case("memmap= written in another way", []) {
            $0.next.commandLine = line("memmap=1G!4G,0x10000000!1024M kho=on liveupdate=on")
        },
        Case("memmap= of an empty region missing", []) {
            $0.next.commandLine = line("kho=on liveupdate=on")
            $0.regions = [region(content: .empty)]
        },
        Case("memmap= of unknown content missing", [.memmapMissing]) {
            $0.next.commandLine = line("kho=on liveupdate=on")
            $0.regions = [region(content: .unknown)]
        },
        Case("memmap= of a devdax device missing", [.memmapMissing]) {
            $0.next.commandLine = line("kho=on liveupdate=on")
            $0.regions = [region(device: "dax0.0", content: .device(alignment: 2 << 20))]
        },
        Case("memory that the firmware marks", []) { $0.regions = [region(start: 8 << 30)] },
        Case("hidden", [.regionHidden]) { $0.regions = [region(start: nil)] },
        Case("virtio-pmem, hidden", []) { $0.regions = [region("region1", .virtioPmem, start: nil)] },
        Case("an NVDIMM", []) { $0.regions.append(region("region1", .nfit, start: 8 << 30)) },
        Case("two regions, both missing", [.memmapMissing, .memmapMissing]) {
            $0.running.commandLine = $0.running.commandLine.appending(line("memmap=1G!8G"))
            $0.regions.append(region("region1", start: 8 << 30, size: 1 << 30))
            $0.next.commandLine = line("kho=on liveupdate=on")
        },
        Case("devdax of CXL", [.devdaxBecomesRAM]) {
            $0.regions.append(
                region("dax1.0", .cxl, start: 8 << 30, device: "dax1.0", content: .device(alignment: nil)))
        },
        Case("devdax of CXL, kmem forbidden", []) {
            $0.regions.append(
                region("dax1.0", .cxl, start: 8 << 30, device: "dax1.0", content: .device(alignment: nil)))
            $0.next.commandLine = $0.next.commandLine.appending(line("modprobe.blacklist=nouveau,kmem"))
        },
        Case("devdax of special memory", [.devdaxBecomesRAM, .devdaxBecomesRAM]) {
            $0.regions.append(
                region("dax1.0", .softReserved, start: 8 << 30, device: "dax1.0", content: .device(alignment: nil)))
            $0.next.commandLine = $0.next.commandLine.appending(line("efi=runtime,nosoftreserve"))
        },
        Case("devdax that is ordinary memory", []) {
            $0.regions.append(region("dax1.0", .softReserved, start: 8 << 30, device: "dax1.0", content: .systemRAM))
        },
        // The kernel's Live Update Orchestrator.
        Case("liveupdate off", [.liveUpdateOff]) { $0.next.commandLine = line("\(memmap) kho=on") },
        Case("kho off", [.liveUpdateOff]) { $0.next.commandLine = line("\(memmap) kho=off liveupdate=on") },
        Case("both off, not used", []) {
            $0.next.commandLine = line("\(memmap) kho=off")
            $0.daemon = .running(files: [file(.dax)], unfinished: [])
        },
        Case("another luo", [.formatsDiffer]) {
            $0.next.file = .success(image { $0.formats = .success(KernelFormats(["kho-v4", "luo-v6", "memfd-v2"])) })
        },
        Case("no format at all", [.formatsDiffer]) {
            $0.next.file = .success(image { $0.formats = .success(KernelFormats()) })
        },
        Case("no format at all, with handover switched off", []) {
            $0.next.file = .success(image { $0.formats = .success(KernelFormats()) })
            $0.next.commandLine = line("\(memmap) kho=off")
            $0.daemon = .running(files: [file(.dax)], unfinished: [])
        },
        Case("no format at all, and nothing to hand over", []) {
            $0.next.file = .success(image { $0.formats = .success(KernelFormats()) })
            $0.daemon = .running(files: [file(.dax)], unfinished: [])
        },
        Case("another luo, and nothing to hand over", [.formatsDiffer]) {
            $0.next.file = .success(image { $0.formats = .success(KernelFormats(["kho-v4", "luo-v6", "memfd-v2"])) })
            $0.daemon = .running(files: [file(.dax)], unfinished: [])
        },
        Case("a stock kernel", []) {
            $0.running.hasLiveUpdate = false
            $0.next.file = .success(image { $0.formats = .success(KernelFormats()) })
            $0.daemon = .running(files: [file(.dax)], unfinished: [])
        },
        Case("unknown formats", [.formatsUnknown]) {
            $0.running.formats = .failure(KexecSituation.UnknownFormats(reason: "why"))
        },
        Case("unknown formats, accepted", []) {
            $0.running.formats = .failure(KexecSituation.UnknownFormats(reason: "why"))
            $0.allowances = .uncheckedImage
        },
        Case("another luo, not accepted", [.formatsDiffer]) {
            $0.next.file = .success(image { $0.formats = .success(KernelFormats(["kho-v4", "luo-v6", "memfd-v2"])) })
            $0.allowances = .uncheckedImage
        },
        // luod.
        Case("no luod", [.noDaemon]) { $0.daemon = .absent(reason: "why") },
        Case("no luod, accepted", []) {
            $0.daemon = .absent(reason: "why")
            $0.allowances = .withoutDaemon
        },
        Case("a luod of another user", [.daemonHidden]) { $0.daemon = .hidden(reason: "why") },
        Case("a luod of another user, accepted", []) {
            $0.daemon = .hidden(reason: "why")
            $0.allowances = .withoutDaemon
        },
        Case("luod, ignored", [.daemonIgnored]) { $0.allowances = .withoutDaemon },
        Case("a luod that cannot", [.daemonUnable]) { $0.daemon = .unable(reason: "why", remedy: "what") },
        Case("files without a carrier", [.noCarrier, .noCarrier]) {
            $0.daemon = .running(files: [withoutCarrier, file(.dax), withoutCarrier], unfinished: [])
        },
        Case("files without a carrier, accepted", []) {
            $0.daemon = .running(files: [withoutCarrier, file(.dax), withoutCarrier], unfinished: [])
            $0.allowances = .leavingBehind
        },
        Case("unfinished", [.unfinished]) { $0.daemon = .running(files: [], unfinished: ["user 0, session \"a\""]) },
        Case("unfinished, accepted", []) {
            $0.daemon = .running(files: [], unfinished: ["user 0, session \"a\""])
            $0.allowances = .discarding
        },
        Case("holes that fit", []) {
            $0.daemon = .running(files: [file(.liveUpdate(filling: 1 << 30))], unfinished: [])
        },
        Case("holes that do not fit", [.noMemory]) {
            $0.daemon = .running(
                files: [file(.liveUpdate(filling: 1 << 29)), file(.liveUpdate(filling: (1 << 29) + 1))], unfinished: [])
        },
        Case("holes of one file in two sessions", []) {
            let one = file(.liveUpdate(filling: 1 << 30), identity: FileIdentity(device: 1, inode: 2))
            $0.daemon = .running(files: [one, one], unfinished: [])
        },
        Case("holes of two files", [.noMemory]) {
            let files = [UInt64(2), 3].map { inode in
                file(.liveUpdate(filling: 1 << 30), identity: FileIdentity(device: 1, inode: inode))
            }
            $0.daemon = .running(files: files, unfinished: [])
        },
        Case("holes beyond all numbers", [.noMemory]) {
            $0.daemon = .running(files: [file(.liveUpdate(filling: .max)), byKernel], unfinished: [])
        },
        // All at once.
        Case("everything", [.kexecDisabled, .noRight, .kernelMissing, .initrdMissing, .memmapMissing, .noDaemon]) {
            $0.loading = .disabled
            $0.mayLoad = false
            $0.next.file = .failure(.unreadable(.noSuchFileOrDirectory))
            $0.next.initrd = .missing([])
            $0.next.commandLine = line("")
            $0.daemon = .absent(reason: "why")
        },
    ]

    @Test(arguments: cases) private func problemsAreFound(one: Case) {
        var situation = Self.good()
        one.change(&situation)
        let preflight = KexecPreflight(situation)
        #expect(preflight.problems.map(\.kind) == one.kinds)
        for problem in preflight.problems + preflight.accepted {
            #expect(!problem.subject.isEmpty && !problem.reason.isEmpty && !problem.remedy.isEmpty)
        }
    }

    @Test func onlyRightsAreMissingForALuodOfAnotherUser() throws {
        var situation = Self.good()
        situation.mayLoad = false
        situation.daemon = .hidden(reason: "why")
        let preflight = KexecPreflight(situation)
        #expect(preflight.lacksOnlyRights)
        #expect(preflight.problems.allSatisfy { $0.remedy == "run luoctl kexec as root" })
        situation.daemon = .absent(reason: "why")
        #expect(!KexecPreflight(situation).lacksOnlyRights)
    }

    /// The remedy of a missing memmap= is the argument that the running kernel has.
    @Test func aMissingArgumentIsNamed() throws {
        var situation = Self.good()
        situation.next.commandLine = Self.line("kho=on liveupdate=on")
        let problem = try #require(KexecPreflight(situation).problems.first)
        #expect(problem.remedy == "add --append 'memmap=256M!1G'")
        #expect(problem.subject == "region0 (pmem0: ext4 on /mnt/dax)")
    }

    @Test func differentFormatsAreNamed() throws {
        var situation = Self.good()
        situation.next.file = .success(Self.image { $0.formats = .success(KernelFormats(["kho-v4", "luo-v6"])) })
        #expect(
            try #require(KexecPreflight(situation).problems.first).reason
                == "this kernel hands over luo-v5, memfd-v2, and the next one takes luo-v6")
    }

    @Test func acceptedProblemsAreListed() {
        var situation = Self.good()
        situation.daemon = .running(files: [Self.withoutCarrier], unfinished: ["session"])
        situation.allowances = [.leavingBehind, .discarding]
        let preflight = KexecPreflight(situation)
        #expect(preflight.accepted.map(\.kind) == [.noCarrier, .unfinished])
        #expect(preflight.problems.isEmpty)
        #expect(!preflight.lacksOnlyRights)
    }

    @Test func missingRightsAreNoOtherProblem() {
        var situation = Self.good()
        situation.mayLoad = false
        situation.regions = [Self.region(start: nil)]
        #expect(KexecPreflight(situation).lacksOnlyRights)
        situation.next.initrd = .missing([])
        #expect(!KexecPreflight(situation).lacksOnlyRights)
    }

    @Test func anUnusedRegionIsNoted() {
        var situation = Self.good()
        situation.regions = [Self.region(content: .empty)]
        situation.next.commandLine = Self.line("kho=on liveupdate=on")
        #expect(
            KexecPreflight(situation).notes == [
                "region0 is not used, and becomes ordinary memory: memmap=256M!1G is not repeated"
            ])
    }
}

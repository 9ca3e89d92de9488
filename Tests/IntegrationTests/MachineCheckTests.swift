// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateProtocol
import TestSupport
import Testing

@testable import luoctl

/// The findings of `luoctl check --machine` from facts.
@Suite struct MachineReportTests {
    /// A machine without a fault or a notice.
    private static var good: MachineFacts {
        var facts = MachineFacts()
        facts.kernel = MachineFacts.Kernel(
            release: "6.1.0-57-amd64",
            features: [
                MachineFacts.Feature(name: "statx(2)", obstacle: nil, use: "luod", remedy: "use another kernel")
            ],
            orchestrator: "no Live Update Orchestrator")
        facts.limits = MachineFacts.Limits(
            openFiles: 524_288, systemFiles: (100, 100_000), room: ("/run", 1 << 30))
        facts.pools = MachineFacts.Pools(
            pools: [MachineFacts.Pool(pageSize: 2 << 20, total: 8, free: 4)], mounts: ["/dev/hugepages"])
        facts.state = MachineFacts.State(
            path: "/run/luo", directory: MachineFacts.Inode(owner: 0, group: 0, mode: 0o711, isDirectory: true),
            socket: MachineFacts.Inode(owner: 0, group: 999, mode: 0o660), daemon: .answers)
        facts.units = MachineFacts.Units(
            hasSystemd: true, service: "/etc/systemd/system/luod.service", socket: "/etc/systemd/system/luod.socket",
            isActive: true, hasKexecDropIn: true, store: 16384)
        facts.versions = MachineFacts.Versions(
            luoctl: "0.1.0", installed: MachineFacts.Program(path: "/usr/local/sbin/luod", version: "0.1.0"),
            running: MachineFacts.Program(path: "/usr/local/sbin/luod", version: "0.1.0"),
            arena: MachineFacts.Arena(path: "/run/luo/arena"))
        return facts
    }

    private typealias Case = (
        words: String, area: MachineFinding.Area, level: MachineFinding.Level, change: (inout MachineFacts) -> Void
    )

    private static var cases: [Case] {
        [
            ("Linux 5.4.0", .kernel, .fault, { $0.kernel.release = "5.4.0" }),
            ("statx(2): ENOSYS", .kernel, .fault, { $0.kernel.features[0].obstacle = "ENOSYS" }),
            (
                "does not work without it", .kernel, .notice,
                {
                    $0.kernel.features[0].obstacle = "EPERM"
                    $0.kernel.features[0].isNeeded = false
                }
            ),
            ("at most 256 open files", .limits, .fault, { $0.limits.openFiles = 256 }),
            ("luod asks for 65536", .limits, .notice, { $0.limits.openFiles = 4096 }),
            ("files have at most 1 GiB", .limits, .notice, { $0.limits.fileSize = 1 << 30 }),
            ("98000 open files of 100000", .limits, .notice, { $0.limits.systemFiles = (98_000, 100_000) }),
            ("at most 512 MiB of memory", .limits, .notice, { $0.limits.memory = 512 << 20 }),
            ("1000 B are free", .limits, .fault, { $0.limits.room = ("/run", 1000) }),
            ("32 MiB are free", .limits, .notice, { $0.limits.room = ("/run", 32 << 20) }),
            ("no huge pages", .pools, .notice, { $0.pools = MachineFacts.Pools() }),
            ("0 of 8 free", .pools, .notice, { $0.pools.pools[0].free = 0 }),
            ("4 reserved", .pools, .notice, { $0.pools.pools[0].reserved = 4 }),
            ("no hugetlbfs is mounted", .pools, .notice, { $0.pools.mounts = [] }),
            ("this is user 1000", .permissions, .notice, { $0.permissions.user = 1000 }),
            ("root without cap_sys_admin", .permissions, .notice, { $0.permissions.missing = ["cap_sys_admin"] }),
            ("there is no state directory", .permissions, .notice, { $0.state.directory = nil }),
            ("is no directory", .permissions, .fault, { $0.state.directory?.isDirectory = false }),
            ("may write to it", .permissions, .fault, { $0.state.directory?.mode = 0o777 }),
            ("cannot reach the socket", .permissions, .notice, { $0.state.directory?.mode = 0o700 }),
            ("systemd does not run here", .units, .notice, { $0.units = MachineFacts.Units() }),
            ("luod.service is not installed", .units, .notice, { $0.units.service = nil }),
            ("luod.socket is not installed", .units, .notice, { $0.units.socket = nil }),
            ("outside of luod.service", .units, .notice, { $0.units.isActive = false }),
            ("FileDescriptorStoreMax= is not set", .units, .notice, { $0.units.store = nil }),
            ("FileDescriptorStoreMax=0", .units, .notice, { $0.units.store = 0 }),
            ("no luod beside luoctl", .versions, .notice, { $0.versions.installed = nil }),
            ("its version is not known", .versions, .notice, { $0.versions.installed?.version = nil }),
            ("luod that runs 0.0.9", .versions, .notice, { $0.versions.running?.version = "0.0.9" }),
            ("version: version 9", .versions, .fault, { $0.versions.arena?.problem = "version: version 9" }),
            ("does not answer", .leftovers, .fault, { $0.state.daemon = .silent }),
            ("may not ask luod", .leftovers, .notice, { $0.state.daemon = .forbidden }),
            (
                "no luod listens", .leftovers, .notice,
                {
                    $0.state.daemon = .none
                    $0.versions.arena = nil
                }
            ),
            (
                "and no luod runs", .leftovers, .notice,
                {
                    $0.state.daemon = .none
                    $0.state.socket = nil
                }
            ),
            (
                "/tmp/luod-x", .leftovers, .notice,
                { $0.leftovers = [MachineFacts.Leftover(text: "/tmp/luod-x", remedy: "remove it")] }
            ),
        ]
    }

    @Test func aGoodMachine() {
        let report = MachineReport(Self.good)
        #expect(report.isGood && report.findings.allSatisfy { $0.level == .ok && $0.remedy == nil }, "\(report.text)")
        #expect(Set(report.findings.map(\.area)) == Set(MachineFinding.Area.allCases))
        #expect(report.text.hasPrefix("0 faults, 0 notices; nothing was changed\n\nkernel\n  ok      Linux 6.1.0"))
    }

    @Test("Each change of a good machine is one finding, with a remedy") func changes() {
        for one in Self.cases {
            var facts = Self.good
            one.change(&facts)
            let report = MachineReport(facts)
            let found = report.findings.filter { $0.level != .ok }
            #expect(
                found.count == 1 && found[0].area == one.area && found[0].level == one.level, "\(one.words): \(found)")
            #expect(found.first?.text.contains(one.words) == true && found.first?.remedy?.isEmpty == false, "\(found)")
            #expect(report.isGood == (one.level != .fault))
        }
    }
}

/// `luoctl check --machine` on this machine.
@Suite struct MachineCheckTests {
    private struct Output: Decodable {
        struct Finding: Decodable {
            let area, level, text: String
            let remedy: String?
        }
        let version: Int
        let good: Bool
        let findings: [Finding]
    }

    private func check(_ state: String) async throws -> Output {
        let ended = try await luoctl("check", "--machine", "--json", "--state", state)
        let output = try ended.json(Output.self)
        #expect(ended.status == (output.good ? 0 : 1) && output.version == 1, "\(ended)")
        return output
    }

    /// The files of a directory with their modes and times.
    private func files(_ path: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path).sorted().map { name in
            var found = stat()
            _ = unsafe lstat("\(path)/\(name)", &found)
            return "\(name) \(found.st_mode) \(found.st_size) \(found.st_ino) \(found.st_mtim.tv_nsec)"
        }
    }

    @Test("With a luod it finds the arena sound, and changes nothing", .requiresRoot) func withDaemon() async throws {
        let daemon = try await RunningDaemon()
        _ = try await luoctl("session", "create", "s", "--state", daemon.state)
        let before = try files(daemon.state)
        let status = try daemon.connect().status().sessions
        let arena = try Data(contentsOf: URL(fileURLWithPath: "\(daemon.state)/arena"))
        let output = try await check(daemon.state)
        #expect(output.findings.contains { $0.text == "luod answers on \(daemon.state)" })
        #expect(output.findings.contains { $0.text.contains("/arena: this version, all invariants hold") })
        #expect(output.findings.contains { $0.text.hasPrefix("luod that runs ") && $0.level == "ok" })
        #expect(output.findings.contains { $0.text == "memfd_create(2): works" })
        #expect(try files(daemon.state) == before)
        #expect(try Data(contentsOf: URL(fileURLWithPath: "\(daemon.state)/arena")) == arena)
        #expect(try daemon.connect().status().sessions == status)
    }

    @Test("Without a luod, the arena, the socket and the files of a killed luod are left over", .requiresRoot)
    func withoutDaemon() async throws {
        let daemon = try await RunningDaemon()
        daemon.killEverything()
        _ = FileManager.default.createFile(atPath: "\(daemon.state)/kernel.new", contents: nil, attributes: nil)
        try "boot 999999 1\n".write(toFile: "\(daemon.state)/holder", atomically: false, encoding: .utf8)
        let before = try files(daemon.state)
        let leftovers = try await check(daemon.state).findings.filter { $0.area == "leftovers" }
        for words in ["no luod listens", "and no luod runs", "kernel.new of a luod", "names process 999999"] {
            #expect(leftovers.contains { $0.text.contains(words) && $0.remedy != nil }, "\(words): \(leftovers)")
        }
        #expect(try files(daemon.state) == before)
    }

    @Test("States and private luods of killed runs are left over", .requiresRoot) func privateLuods() async throws {
        let directory = try TemporaryDirectory(in: "/tmp")
        let state = directory.file("luod-killed")
        try FileManager.default.createDirectory(atPath: state, withIntermediateDirectories: false)
        try Data(try Specimen.running().copy()).write(to: URL(fileURLWithPath: "\(state)/arena"))
        // A shell with the name and the arguments of a luod stands for one.
        let image = directory.file("luod")
        try FileManager.default.createSymbolicLink(atPath: image, withDestinationPath: "/bin/sh")
        let gone = directory.file("gone")
        let orphan = try Program([image, "-c", "kill -STOP $$", "luod", "--state", gone, "--until-unused"])
        try await eventually("the shell", within: 20) {
            try String(contentsOfFile: "/proc/\(orphan.process)/comm", encoding: .utf8) == "luod\n"
        }
        let ended = try await run(
            [Program.path("luoctl"), "check", "--machine", "--state", directory.file("none")],
            environment: ["TMPDIR=\(directory.path)"])
        #expect(ended.output.contains("\(state) has an arena, and no luod runs on it"), "\(ended)")
        #expect(ended.output.contains("the private luod \(orphan.process) of luoctl run, whose state \(gone)"))
        withExtendedLifetime(orphan) {}
    }

    @Test("A state that others may write to is a fault, and exit code 1", .requiresRoot) func fault() async throws {
        let directory = try TemporaryDirectory(in: "/tmp")
        unsafe chmod(directory.path, 0o777)
        let ended = try await luoctl("check", "--machine", "--state", directory.path)
        #expect(ended.status == 1 && ended.errors.isEmpty, "\(ended)")
        #expect(ended.output.contains("  FAULT   \(directory.path) belongs to user 0, mode 777"))
        #expect(try directory.names.isEmpty)
    }

    @Test func wrongArguments() async throws {
        for arguments in [["check"], ["check", "--machine", "1"], ["check", "--machine", "--all"]] {
            let ended = try await run([Program.path("luoctl")] + arguments)
            #expect(ended.status == 64 && ended.errors.contains("--machine"), "\(ended)")
        }
    }
}

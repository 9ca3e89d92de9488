// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCommandLine
import LiveUpdatePlatform

/// A result of the check of the machine.
struct MachineFinding: Encodable, Equatable {
    /// The weight of a finding: only faults change the exit code.
    enum Level: String, Encodable {
        case ok
        case notice
        case fault
    }

    /// The subject of a finding. The report has one heading for each subject.
    enum Area: String, Encodable, CaseIterable {
        case kernel
        case limits
        case pools
        case permissions
        case units
        case versions
        case leftovers
    }

    var area: Area
    var level: Level
    var text: String
    /// The advice; nil for a finding that needs none.
    var remedy: String?

    static func ok(_ area: Area, _ text: String) -> MachineFinding {
        MachineFinding(area: area, level: .ok, text: text)
    }

    static func notice(_ area: Area, _ text: String, _ remedy: String) -> MachineFinding {
        MachineFinding(area: area, level: .notice, text: text, remedy: remedy)
    }

    static func fault(_ area: Area, _ text: String, _ remedy: String) -> MachineFinding {
        MachineFinding(area: area, level: .fault, text: text, remedy: remedy)
    }
}

/// The findings about a machine: a function of its facts, without I/O.
struct MachineReport {
    let findings: [MachineFinding]

    init(_ facts: MachineFacts) {
        findings =
            Self.kernel(facts.kernel) + Self.limits(facts.limits) + Self.pools(facts.pools)
            + Self.permissions(facts.permissions, facts.state) + Self.units(facts.units)
            + Self.versions(facts.versions) + Self.leftovers(facts)
    }

    var isGood: Bool { !findings.contains { $0.level == .fault } }

    // MARK: Output

    var text: String {
        let faults = findings.count { $0.level == .fault }
        let notices = findings.count { $0.level == .notice }
        let head = "\(counted(faults, "fault")), \(counted(notices, "notice")); nothing was changed"
        let parts = MachineFinding.Area.allCases.map { area in
            ([area.rawValue] + findings.filter { $0.area == area }.map(Self.line)).joined(separator: "\n")
        }
        return ([isGood ? Style.good(head) : Style.bad(head)] + parts).joined(separator: "\n\n")
    }

    private static func line(_ finding: MachineFinding) -> String {
        let text = finding.text.shown + (finding.remedy.map { "; \($0.shown)" } ?? "")
        return switch finding.level {
        case .ok: "  ok      \(text)"
        case .notice: Style.notice("  notice  \(text)")
        case .fault: Style.bad("  FAULT   \(text)")
        }
    }

    var json: String {
        struct Output: Encodable {
            var version = 1
            var good: Bool
            var findings: [MachineFinding]
        }
        return jsonText(Output(good: isGood, findings: findings))
    }

    // MARK: Decisions

    private static func kernel(_ kernel: MachineFacts.Kernel) -> [MachineFinding] {
        let isOld = kernel.number.map { $0 < (5, 9) } ?? false
        let release =
            isOld
            ? MachineFinding.fault(.kernel, "Linux \(kernel.release)", "start Linux 5.9 or later")
            : .ok(.kernel, "Linux \(kernel.release)")
        let features = kernel.features.map { feature -> MachineFinding in
            guard let obstacle = feature.obstacle else { return .ok(.kernel, "\(feature.name): works") }
            let text = "\(feature.name): \(obstacle); \(feature.use) does not work without it"
            return feature.isNeeded ? .fault(.kernel, text, feature.remedy) : .notice(.kernel, text, feature.remedy)
        }
        return [release] + features + [.ok(.kernel, kernel.orchestrator)]
    }

    private static func limits(_ limits: MachineFacts.Limits) -> [MachineFinding] {
        var findings: [MachineFinding] = []
        if let hard = limits.openFiles {
            findings.append(
                hard < 1024
                    ? .fault(
                        .limits, "at most \(hard) open files", "raise the hard limit (ulimit -Hn, LimitNOFILE=65536)")
                    : hard < 65536
                        ? .notice(
                            .limits, "at most \(hard) open files, and luod asks for 65536",
                            "raise the hard limit (ulimit -Hn, LimitNOFILE=65536) for many files")
                        : .ok(.limits, "at most \(hard) open files"))
        }
        findings.append(
            limits.fileSize.map {
                .notice(
                    .limits, "files have at most \(ByteCount.text($0))",
                    "lift the limit (ulimit -f, LimitFSIZE=infinity)")
            } ?? .ok(.limits, "no limit on the size of files"))
        if let system = limits.systemFiles {
            let isFull = system.used > system.most / 10 * 9
            let text = "the system has \(system.used) open files of \(system.most)"
            findings.append(isFull ? .notice(.limits, text, "raise fs.file-max") : .ok(.limits, text))
        }
        if let most = limits.memory {
            findings.append(
                .notice(
                    .limits, "the control group of this process has at most \(ByteCount.text(most)) of memory",
                    "let luod's group have the memory of all files that it is the last to hold (MemoryMax=)"))
        }
        if let room = limits.room {
            let text = "\(ByteCount.text(room.bytes)) are free for the state in \(room.path)"
            findings.append(
                room.bytes < 1 << 20
                    ? .fault(.limits, text, "make room: the arena cannot grow")
                    : room.bytes < 64 << 20
                        ? .notice(.limits, text, "make room for a larger arena") : .ok(.limits, text))
        }
        return findings
    }

    private static func pools(_ pools: MachineFacts.Pools) -> [MachineFinding] {
        if pools.pools.isEmpty {
            return [.notice(.pools, "this kernel has no huge pages", "use a kernel with CONFIG_HUGETLBFS for them")]
        }
        let findings = pools.pools.map { pool -> MachineFinding in
            let nodes = pool.nodes.map { "node \($0.node): \($0.free) of \($0.total) free" }.joined(separator: ", ")
            let text =
                "\(ByteCount.text(pool.pageSize)) pages: \(pool.free) of \(pool.total) free, \(pool.reserved) reserved, "
                + "overcommit \(pool.overcommit)" + (nodes.isEmpty ? "" : "; \(nodes)")
            return pool.total > 0 && pool.free <= pool.reserved
                ? .notice(.pools, text, "luoctl hugepages shows the holders; luoctl hugepages reserve makes more")
                : .ok(.pools, text)
        }
        let mounts = pools.mounts.joined(separator: ", ")
        return findings + [
            pools.mounts.isEmpty
                ? .notice(
                    .pools, "no hugetlbfs is mounted",
                    "mount one for files with names: mount -t hugetlbfs none /dev/hugepages")
                : .ok(.pools, "hugetlbfs is mounted on \(mounts)")
        ]
    }

    private static func permissions(
        _ rights: MachineFacts.Permissions, _ state: MachineFacts.State
    ) -> [MachineFinding] {
        var findings: [MachineFinding] = []
        let missing = rights.missing.joined(separator: ", ")
        findings.append(
            rights.user != 0
                ? .notice(.permissions, "this is user \(rights.user): other users' processes are hidden", "run as root")
                : missing.isEmpty
                    ? .ok(.permissions, "root, with the capabilities that luod uses")
                    : .notice(
                        .permissions, "root without \(missing)",
                        "add them to the container or to CapabilityBoundingSet="))
        guard let directory = state.directory else {
            return findings + [
                .notice(
                    .permissions, "there is no state directory \(state.path)",
                    "luod makes it: luod --state \(state.path)")
            ]
        }
        let mode = String(directory.mode, radix: 8)
        let text = "\(state.path) belongs to user \(directory.owner), mode \(mode)"
        if !directory.isDirectory {
            findings.append(.fault(.permissions, "\(state.path) is no directory", "name another state"))
        } else {
            findings.append(
                directory.mode & 0o022 != 0
                    ? .fault(
                        .permissions, "\(text): other users may write to it", "chmod go-w \(state.path.shellQuoted)")
                    : directory.mode & 0o001 == 0
                        ? .notice(
                            .permissions, "\(text): other users cannot reach the socket",
                            "chmod o+x \(state.path.shellQuoted), if other users are clients") : .ok(.permissions, text)
            )
        }
        if let socket = state.socket {
            let mode = String(socket.mode, radix: 8)
            findings.append(
                .ok(.permissions, "the clients' socket: user \(socket.owner), group \(socket.group), mode \(mode)"))
        }
        return findings
    }

    private static func units(_ units: MachineFacts.Units) -> [MachineFinding] {
        guard units.hasSystemd else {
            return [
                .notice(
                    .units, "systemd does not run here",
                    "start luod by your service manager, so that it starts again after a crash")
            ]
        }
        guard let service = units.service else {
            return [.notice(.units, "luod.service is not installed", "make install puts the units in place")]
        }
        var findings = [MachineFinding.ok(.units, "luod.service: \(service)")]
        findings.append(
            units.socket.map { .ok(.units, "luod.socket: \($0)") }
                ?? .notice(.units, "luod.socket is not installed", "make install puts the units in place"))
        if let isActive = units.isActive {
            findings.append(
                isActive
                    ? .ok(.units, "luod runs in luod.service")
                    : .notice(
                        .units, "luod runs outside of luod.service",
                        "stop it (luoctl stop) and start the unit, so that systemd stores its descriptors"))
        }
        findings.append(
            units.store.map {
                $0 > 0
                    ? .ok(.units, "FileDescriptorStoreMax=\($0)")
                    : .notice(.units, "FileDescriptorStoreMax=0", "set 16384: systemd then keeps files over a crash")
            }
                ?? .notice(
                    .units, "FileDescriptorStoreMax= is not set", "set 16384: systemd then keeps files over a crash"))
        findings.append(
            .ok(.units, units.hasKexecDropIn ? "the drop-in kexec.conf is there" : "no drop-in kexec.conf"))
        return findings
    }

    private static func versions(_ versions: MachineFacts.Versions) -> [MachineFinding] {
        var findings = [MachineFinding.ok(.versions, "luoctl \(versions.luoctl)")]
        func compare(_ name: String, _ version: String?, _ remedy: String) {
            guard let version else {
                return findings.append(.notice(.versions, "\(name): its version is not known", "\(remedy) --version"))
            }
            findings.append(
                version == versions.luoctl
                    ? .ok(.versions, "\(name) \(version)")
                    : .notice(.versions, "\(name) \(version), and luoctl \(versions.luoctl)", "update both (\(remedy))")
            )
        }
        if let installed = versions.installed {
            compare("luod in \(installed.path)", installed.version, "luoctl update")
        }
        if versions.installed == nil {
            findings.append(.notice(.versions, "there is no luod beside luoctl", "make install puts it in place"))
        }
        if let running = versions.running { compare("luod that runs", running.version, "luoctl update") }
        if let arena = versions.arena {
            findings.append(
                arena.problem.map {
                    .fault(
                        .versions, "the arena \(arena.path): \($0)", "luoctl inspect \(arena.path.shellQuoted) shows it"
                    )
                }
                    ?? .ok(
                        .versions,
                        arena.isInspected
                            ? "the arena \(arena.path): this version, all invariants hold"
                            : "the arena \(arena.path): not inspected; luoctl inspect --limit reads it"))
        }
        return findings
    }

    private static func leftovers(_ facts: MachineFacts) -> [MachineFinding] {
        var findings: [MachineFinding] = []
        switch facts.state.daemon {
        case .answers: findings.append(.ok(.leftovers, "luod answers on \(facts.state.path)"))
        case .silent:
            findings.append(
                .fault(
                    .leftovers, "luod on \(facts.state.path) does not answer",
                    "luoctl status names the process; docs/runbook.md"))
        case .forbidden:
            findings.append(.notice(.leftovers, "this user may not ask luod on \(facts.state.path)", "run as root"))
        case .none:
            if facts.state.socket != nil {
                findings.append(
                    .notice(
                        .leftovers, "a socket in \(facts.state.path), and no luod listens",
                        "start luod, which replaces it"))
            }
            if let arena = facts.versions.arena {
                findings.append(
                    .notice(
                        .leftovers, "the arena \(arena.path), and no luod runs",
                        "start luod on this state, which goes on with it; luoctl inspect shows its sessions"))
            }
        }
        findings += facts.leftovers.map { .notice(.leftovers, $0.text, $0.remedy) }
        return findings.isEmpty ? [.ok(.leftovers, "nothing is left over")] : findings
    }
}

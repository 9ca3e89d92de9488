// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdateCommandLine
import LiveUpdateCore
import LiveUpdateDevice
import LiveUpdateHandover
import LiveUpdateKernel
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage

/// Reads the facts of this machine. Nothing is written or made, except for empty memory files that no other process
/// sees; a feature of the kernel is tried where that is harmless.
struct MachineSurvey {
    private let state: String
    private let timeout: UInt16

    /// Prepares a survey of the state of luod. `timeout` is the time that luod may take to answer, in seconds.
    init(state: String?, timeout: UInt16) {
        self.state = absolutePath(LiveUpdateDevice.state(state.map { FilePath($0) }).string)
        self.timeout = timeout
    }

    /// Reads all facts. A fact that cannot be read is missing.
    func facts() -> MachineFacts {
        var facts = MachineFacts()
        facts.kernel = kernel
        facts.limits = limits
        facts.pools = pools
        facts.permissions.user = geteuid()
        let used: [Capability] = [
            .systemAdministration, .lockMemory, .systemResource, .traceProcesses, .overridePermissions,
        ]
        facts.permissions.missing = used.filter { !Capabilities.state(of: $0).permitted }.map(\.rawValue)
        let (daemon, status) = self.daemon
        facts.state = MachineFacts.State(
            path: state, directory: inode(state), socket: inode(socketPath), daemon: daemon)
        let keeper = status.map { $0.keeper > 0 ? $0.keeper : $0.orchestrator }
        facts.units = units(keeper)
        facts.versions = versions(keeper)
        facts.leftovers = stateLeftovers + privateLeftovers + orphans + mountLeftovers
        return facts
    }

    private var socketPath: String { "\(state)/liveupdate" }

    private func inode(_ path: String) -> MachineFacts.Inode? {
        guard let status = try? FileStatus(at: path) else { return nil }
        return MachineFacts.Inode(
            owner: status.owner, group: status.group, mode: UInt32(status.permissions.rawValue),
            isDirectory: status.isDirectory)
    }

    // MARK: The kernel

    private var kernel: MachineFacts.Kernel {
        MachineFacts.Kernel(
            release: text("/proc/sys/kernel/osrelease").trimmed, features: features,
            orchestrator: String(KernelOrchestrator.current().text.trimmingPrefix("kernel: ")))
    }

    private func obstacle(_ body: () throws(SystemCallError) -> Void) -> String? {
        do throws(SystemCallError) {
            try body()
            return nil
        } catch {
            return "\(error)"
        }
    }

    private var features: [MachineFacts.Feature] {
        let container = "use Linux 5.9 or later, and a container that allows the call"
        let actions = text("/proc/sys/kernel/seccomp/actions_avail")
        let userfault = UserfaultObstacle.ofThisMachine()
        return [
            MachineFacts.Feature(
                name: "pidfd_open(2) and pidfd_getfd(2)",
                obstacle: obstacle { () throws(SystemCallError) in
                    let file = try makeMemoryFile(named: "check", size: 0)
                    _ = try RunningProcess(getpid()).duplicate(file.borrowed.rawValue)
                    // The descriptor stays open until here.
                    _ = consume file
                }, use: "luoctl preserve --pid", remedy: container, isNeeded: false),
            MachineFacts.Feature(
                name: "memfd_create(2)",
                obstacle: obstacle { () throws(SystemCallError) in _ = try makeMemoryFile(named: "check", size: 0) },
                use: "luod", remedy: container),
            MachineFacts.Feature(
                name: "MFD_HUGETLB",
                obstacle: obstacle { () throws(SystemCallError) in
                    _ = try makeMemoryFile(named: "check", size: 0, pageSize: .huge2M)
                }, use: "memory on huge pages of 2M", remedy: "use a kernel with CONFIG_HUGETLBFS", isNeeded: false),
            MachineFacts.Feature(
                name: "F_OFD_GETLK of fcntl(2)",
                obstacle: obstacle { () throws(SystemCallError) in
                    let file = try makeMemoryFile(named: "check", size: 0)
                    _ = try file.borrowed.isLockedByAnother()
                    _ = consume file
                }, use: "luod", remedy: container),
            MachineFacts.Feature(
                name: "statx(2)",
                obstacle: obstacle { () throws(SystemCallError) in _ = try FileStatus(at: "/") }, use: "luod",
                remedy: container),
            MachineFacts.Feature(
                name: "seccomp user notification",
                obstacle: actions.contains("user_notif") ? nil : "not among the actions of seccomp",
                use: "luoctl run", remedy: "use a kernel with CONFIG_SECCOMP_FILTER", isNeeded: false),
            MachineFacts.Feature(
                name: "userfaultfd(2)", obstacle: userfault?.reason, use: "the search for huge pages in files",
                remedy: userfault?.remedy ?? "", isNeeded: false),
        ]
    }

    // MARK: Limits and pools

    private var limits: MachineFacts.Limits {
        let own = text("/proc/self/limits").split(separator: "\n")
        func hard(_ name: String) -> UInt64? {
            guard let line = own.first(where: { $0.hasPrefix(name) }) else { return nil }
            let words = line.dropFirst(name.count).split(separator: " ")
            return words.count > 1 ? UInt64(words[1]) : nil
        }
        let system = text("/proc/sys/fs/file-nr").split(whereSeparator: \.isWhitespace).compactMap { UInt64($0) }
        var place = statvfs()
        let directory = inode(state) == nil ? FilePath(state).removingLastComponent().string : state
        let hasRoom = unsafe statvfs(directory, &place) == 0
        // The line of cgroup v2: cgroups(7).
        let group = text("/proc/self/cgroup").split(separator: "\n").first { $0.hasPrefix("0::") }?.dropFirst(3)
        return MachineFacts.Limits(
            openFiles: hard("Max open files"), fileSize: hard("Max file size"),
            systemFiles: system.count == 3 ? (system[0], system[2]) : nil,
            memory: group.flatMap { UInt64(text("/sys/fs/cgroup\($0)/memory.max").trimmed) },
            room: hasRoom ? (directory, UInt64(place.f_bavail) * UInt64(place.f_frsize)) : nil)
    }

    private var pools: MachineFacts.Pools {
        let all = (try? HugePagePool.all()) ?? []
        return MachineFacts.Pools(
            pools: all.map { pool in
                MachineFacts.Pool(
                    pageSize: pool.pageSize.bytes, total: pool.total, free: pool.free, reserved: pool.reserved,
                    overcommit: pool.overcommit,
                    nodes: pool.nodes.map { MachineFacts.Pool.Node(node: $0.id, total: $0.total, free: $0.free) })
            }, mounts: ((try? HugePageMount.all()) ?? []).map(\.string))
    }

    // MARK: luod, its units and versions

    private var daemon: (MachineFacts.State.Daemon, LuodStatus.Daemon?) {
        let path = FilePath(state)
        let patience = AnswerPatience(state: path, seconds: max(1, timeout))
        do throws(LiveUpdateError) {
            let device = try LiveUpdateDevice.luod(state: path, patience: patience)
            return (.answers, try LuodStatus(of: device).daemon)
        } catch {
            switch error.errno {
            case .permissionDenied: return (.forbidden, nil)
            case .timedOut: return (.silent, nil)
            default: return (patience.hasLapsed ? .silent : .none, nil)
            }
        }
    }

    private func units(_ keeper: Int32?) -> MachineFacts.Units {
        let directories = [
            "/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
            "/lib/systemd/system",
        ]
        func find(_ name: String) -> String? {
            directories.map { "\($0)/\(name)" }.first { (try? FileStatus(at: $0))?.isRegular == true }
        }
        let service = find("luod.service")
        let dropIn = find("luod.service.d/kexec.conf")
        let lines = (text(service ?? "") + text(dropIn ?? "")).split(separator: "\n")
        let option = "FileDescriptorStoreMax="
        return MachineFacts.Units(
            hasSystemd: (try? FileStatus(at: "/run/systemd/system"))?.isDirectory == true, service: service,
            socket: find("luod.socket"),
            isActive: keeper.map { ServiceUnit(groups: text("/proc/\($0)/cgroup"))?.name == "luod.service" },
            hasKexecDropIn: dropIn != nil,
            store: lines.last { $0.hasPrefix(option) }.flatMap { UInt64($0.dropFirst(option.count)) })
    }

    private func versions(_ keeper: Int32?) -> MachineFacts.Versions {
        let beside = try? NeighbourProgram.path("luod", installed: "../sbin")
        let arena = "\(state)/arena"
        return MachineFacts.Versions(
            luoctl: packageVersion, installed: beside.map { program($0, runs: $0) },
            running: keeper.map { id in
                program((try? linkTarget("/proc/\(id)/exe")) ?? "process \(id)", runs: "/proc/\(id)/exe")
            },
            arena: (try? FileStatus(at: arena))?.isRegular == true ? inspected(arena) : nil)
    }

    /// Asks a program for its version, unless users other than root and this one could have changed it.
    private func program(_ shown: String, runs path: String) -> MachineFacts.Program {
        // A process can run another program at any time, so the shell runs the file that was checked.
        guard let file = try? findFileBehind(path), let status = try? FileStatus(of: file.borrowed), status.isRegular,
            [0, geteuid()].contains(status.owner), status.permissions.isDisjoint(with: [.groupWrite, .otherWrite])
        else { return MachineFacts.Program(path: shown, version: nil) }
        let checked = "/proc/\(getpid())/fd/\(file.borrowed.rawValue)"
        let version = firstLine(of: "\(checked) --version 2>/dev/null </dev/null")
        // The descriptor stays open until here.
        _ = consume file
        return MachineFacts.Program(path: shown, version: version)
    }

    private func firstLine(of command: String) -> String? {
        guard let output = unsafe popen(command, "r") else { return nil }
        defer { _ = unsafe pclose(output) }
        var line = [CChar](repeating: 0, count: 256)
        guard unsafe fgets(&line, CInt(line.count), output) != nil else { return nil }
        return String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self).trimmed
    }

    private func inspected(_ path: String) -> MachineFacts.Arena {
        var result = MachineFacts.Arena(path: path)
        do {
            let file = try openToLook(path)
            // A larger arena takes long to read; luoctl inspect reads it on request.
            let found = Inspection(try ArenaSnapshot(of: file.borrowed, limit: 64 << 20))
            _ = consume file
            result.problem =
                found.failures.first.map { "\($0.gate.rawValue): \($0.reason)" }
                ?? found.invariants.broken.first.map { "\($0.invariant.rawValue): \($0.place): \($0.reason)" }
        } catch let error as ArenaError where [.space, .owner].contains(error.gate) {
            result.isInspected = false
        } catch let error as SystemCallError where error.errno == .permissionDenied {
            result.isInspected = false
        } catch {
            result.problem = "it cannot be read: \(error)"
        }
        return result
    }

    // MARK: Leftovers

    private var stateLeftovers: [MachineFacts.Leftover] {
        let names = (try? directoryEntries(state)) ?? []
        var found: [MachineFacts.Leftover] = []
        for name in names.sorted() where name.hasSuffix(".new") || name == "moved" {
            found.append(
                MachineFacts.Leftover(
                    text: "\(state)/\(name) of a luod that was killed while it wrote it",
                    remedy: "start luod, which replaces it"))
        }
        let holder = beginning(of: "\(state)/holder").split(whereSeparator: \.isWhitespace)
        if holder.count > 1, CInt(holder[1]) != nil, (try? FileStatus(at: "/proc/\(holder[1])")) == nil {
            found.append(
                MachineFacts.Leftover(
                    text: "\(state)/holder names process \(holder[1]), which has ended",
                    remedy: "start luod, which removes it; the memory files are gone unless a kernel has taken them"))
        }
        return found
    }

    /// The directories of private luods of `luoctl run` on which no luod runs. Any user can make many of them, so the
    /// report has only the first ten.
    private var privateLeftovers: [MachineFacts.Leftover] {
        let (all, most) = (unusedStates, 10)
        guard all.count > most else { return all }
        let rest = MachineFacts.Leftover(
            text: "\(counted(all.count - most, "more state")) of private luods, on which no luod runs",
            remedy: "remove the first ten, and look again")
        return all.prefix(most) + [rest]
    }

    private var unusedStates: [MachineFacts.Leftover] {
        let parent = environmentVariable("TMPDIR") ?? "/tmp"
        let names = ((try? directoryEntries(parent)) ?? []).filter { $0.hasPrefix("luod-") }
        return names.sorted().compactMap { name in
            let path = "\(parent)/\(name)"
            guard (try? FileStatus(at: "\(path)/arena", followingLinks: false))?.isRegular == true,
                isUnlocked("\(path)/arena")
            else { return nil }
            return MachineFacts.Leftover(
                text: "\(path) has an arena, and no luod runs on it",
                remedy:
                    "luoctl inspect \("\(path)/arena".shellQuoted) shows it; remove the directory if you need nothing of it"
            )
        }
    }

    /// The private luods of `luoctl run` with a removed state, so that no program can reach them.
    private var orphans: [MachineFacts.Leftover] {
        let processes = ((try? directoryEntries("/proc")) ?? []).compactMap { CInt($0) }.sorted()
        return processes.compactMap { id in
            guard text("/proc/\(id)/comm") == "luod\n" else { return nil }
            let arguments = text("/proc/\(id)/cmdline").split(separator: "\0").map(String.init)
            guard arguments.contains("--until-unused"), let option = arguments.lastIndex(of: "--state"),
                option + 1 < arguments.count, inode(arguments[option + 1]) == nil
            else { return nil }
            return MachineFacts.Leftover(
                text: "the private luod \(id) of luoctl run, whose state \(arguments[option + 1]) was removed",
                remedy: "kill \(id), if its program has ended")
        }
    }

    /// Whether no process runs an arena; false when it cannot be known.
    private func isUnlocked(_ path: String) -> Bool {
        guard let file = try? openToLook(path) else { return false }
        let isLocked = try? file.borrowed.isLockedByAnother()
        _ = consume file
        return isLocked == false
    }

    /// The mounts of killed runs of `luoctl demo`.
    private var mountLeftovers: [MachineFacts.Leftover] {
        ((try? HugePageMount.all()) ?? []).map(\.string).filter { $0.hasSuffix(".hugetlbfs") }.map {
            MachineFacts.Leftover(
                text: "the hugetlbfs \($0) of a run of luoctl demo",
                remedy: "run luoctl demo again if none runs: it removes the rest of a killed run")
        }
    }

    /// The content of a file; empty when it cannot be read, because a fact that cannot be read is left out.
    private func text(_ path: String) -> String { (try? readWhole(path)) ?? "" }

    /// The beginning of a file in the state. The directory may belong to another user, so the file may be a named pipe,
    /// a device, or large.
    private func beginning(of path: String) -> String {
        guard let file = try? openToLook(path) else { return "" }
        let isRegular = (try? FileStatus(of: file.borrowed))?.isRegular == true
        let bytes = isRegular ? try? file.borrowed.bytes(at: 0, count: 4096) : nil
        _ = consume file
        return String(decoding: bytes ?? [], as: UTF8.self)
    }
}

extension String {
    fileprivate var trimmed: String {
        var text = Substring(self)
        while text.last?.isWhitespace == true { text.removeLast() }
        return String(text)
    }
}

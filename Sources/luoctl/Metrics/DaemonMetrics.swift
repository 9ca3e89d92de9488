// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import LiveUpdateProtocol

/// The metrics of luod and of the machine's pools, from one status: docs/metrics.md. It does no I/O.
struct DaemonMetrics {
    /// The families, in the order of the output.
    private(set) var families: [MetricFamily] = []

    /// Makes the metrics.
    ///
    /// - Parameters:
    ///   - status: the status of luod; nil when no luod answers.
    ///   - pools: the huge page pools of the machine.
    init(_ status: LuodStatus?, pools: [HugePagePool]) {
        var up = MetricFamily("luod_up", "Whether luod answers.")
        up.add(status == nil ? 0 : 1)
        families.append(up)
        if let status {
            addState(status)
            addSessions(status.sessions)
            addFiles(status.sessions)
            addMemory(status.memory ?? [])
            if let load = status.load { add(load) }
        }
        addPools(pools)
    }

    /// The text, which ends with the mark of its end.
    var text: String { families.map(\.text).joined() + "# EOF\n" }

    private mutating func add(_ family: MetricFamily) { families.append(family) }

    /// Adds a family with one value.
    private mutating func add(
        _ value: Double, _ name: String, _ help: String, unit: String? = nil
    ) {
        var family = MetricFamily(name, help, unit: unit)
        family.add(value)
        add(family)
    }

    // MARK: luod

    private mutating func addState(_ status: LuodStatus) {
        let faults = StatusVerdict(status).faults.count
        add(faults == 0 ? 1 : 0, "luod_healthy", "Whether luoctl status says healthy.")
        add(status.keeper == 0 || !status.keeperAnswers ? 0 : 1, "luod_keeper_up", "Whether the keeper answers.")
        add(status.refusal == nil ? 0 : 1, "luod_refusing", "Whether luod cannot read its state, and serves only root.")
        add(Double(status.boot), "luod_boot", "The number of the boot: 1, and one for each update.")
        add(
            Double(status.arenaSize), "luod_arena_size_bytes",
            "The size of the arena; it grows up to luod --max-arena.", unit: "bytes")
        add(Double(status.arenaUsed), "luod_arena_used_bytes", "The used part of the arena.", unit: "bytes")
    }

    private mutating func addSessions(_ sessions: [LuodStatus.Session]) {
        var family = MetricFamily("luod_sessions", "Sessions by user, direction and state.")
        let groups = Dictionary(grouping: sessions) { SessionGroup($0) }
        for (group, sessions) in groups.sorted(by: { $0.key < $1.key }) {
            family.add(
                Double(sessions.count),
                ["user": "\(group.user)", "direction": group.direction, "state": group.state])
        }
        add(family)
    }

    private mutating func addFiles(_ sessions: [LuodStatus.Session]) {
        var count = MetricFamily("luod_files", "Files by user and handler. A file of several sessions counts once.")
        var lost = MetricFamily("luod_lost_files", "Files that are lost, by user.")
        var allocated = MetricFamily(
            "luod_allocated_bytes", "Memory of the files, without holes, by user and handler.", unit: "bytes")
        var size = MetricFamily("luod_size_bytes", "Sizes of the files, with holes.", unit: "bytes")
        var groups: [FileGroup: FileSums] = [:]
        var lostFiles: [UInt32: Int] = [:]
        for session in sessions {
            lostFiles[session.owner, default: 0] += session.files.count(where: \.isLost)
            for file in session.files {
                groups[FileGroup(user: session.owner, handler: file.compatible), default: FileSums()].add(file)
            }
        }
        for (group, sums) in groups.sorted(by: { $0.key < $1.key }) {
            let labels: KeyValuePairs = ["user": "\(group.user)", "handler": group.handler]
            count.add(Double(sums.count), labels)
            allocated.add(sums.allocated, labels)
            size.add(sums.size, labels)
        }
        for (user, number) in lostFiles.sorted(by: { $0.key < $1.key }) {
            lost.add(Double(number), ["user": "\(user)"])
        }
        families += [count, lost, allocated, size]
    }

    private mutating func addMemory(_ memory: [LuodStatus.Memory]) {
        var used = MetricFamily(
            "luod_user_memory_bytes", "Memory of a user's files by page size, as luod counts it for its limits.",
            unit: "bytes")
        var limit = MetricFamily(
            "luod_user_memory_limit_bytes", "The most memory that a user's files may have.", unit: "bytes")
        for one in memory {
            let labels: KeyValuePairs = ["user": "\(one.user)", "page_size": "\(one.pageSize)"]
            used.add(Double(one.bytes), labels)
            if let most = one.limit { limit.add(Double(most), labels) }
        }
        families += [used, limit]
    }

    private mutating func add(_ load: LuodStatus.Load) {
        var updates = MetricFamily("luod_updates", "Loads, updates and reloads by result.", as: .counter)
        var deaths = MetricFamily("luod_deaths", "Deaths of luod's processes by cause.", as: .counter)
        for counter in load.counters {
            switch counter.name {
            case "updates": updates.add(Double(counter.count), ["kind": counter.of, "result": counter.result])
            case "deaths": deaths.add(Double(counter.count), ["process": counter.of, "cause": counter.result])
            default: break
            }
        }
        families += [updates, deaths]
        if let blackouts = load.blackouts { add(blackouts) }
        add(Double(load.queue), "luod_queue", "Connections with a request that waits.")
        add(Double(load.descriptors), "luod_descriptors", "Descriptors that luod holds for clients.")
        add(Double(load.descriptorLimit), "luod_descriptors_limit", "The most descriptors that luod may hold.")
    }

    private mutating func add(_ blackouts: LuodStatus.Blackouts) {
        var family = MetricFamily(
            "luod_blackout_seconds", "Time without answers in an update or a reload.", as: .histogram, unit: "seconds")
        var sum: UInt64 = 0
        for bucket in blackouts.buckets {
            sum &+= bucket.count
            let bound = bucket.upTo.map { Double($0) / 1e9 } ?? .infinity
            family.add(Double(sum), ["le": bound == .infinity ? "+Inf" : "\(bound)"], suffix: "_bucket")
        }
        family.add(Double(sum), suffix: "_count")
        family.add(Double(blackouts.sum) / 1e9, suffix: "_sum")
        add(family)
    }

    // MARK: The machine

    private mutating func addPools(_ pools: [HugePagePool]) {
        var family = MetricFamily(
            "luod_pool_pages", "Huge pages of the machine by page size, NUMA node and state; all: the whole machine.")
        for pool in pools {
            func add(_ node: String, _ state: String, _ pages: UInt64) {
                family.add(
                    Double(pages), ["page_size": "\(pool.pageSize.bytes)", "node": node, "state": state])
            }
            add("all", "total", pool.total)
            add("all", "free", pool.free)
            add("all", "reserved", pool.reserved)
            add("all", "surplus", pool.surplus)
            for node in pool.nodes {
                add("\(node.id)", "total", node.total)
                add("\(node.id)", "free", node.free)
                add("\(node.id)", "surplus", node.surplus)
            }
        }
        add(family)
    }
}

/// The labels of sessions that are counted together.
private struct SessionGroup: Hashable, Comparable {
    let user: UInt32
    let direction: String
    let state: String

    init(_ session: LuodStatus.Session) {
        user = session.owner
        direction = session.direction
        state = session.state.replacing(" ", with: "_")
    }

    static func < (left: Self, right: Self) -> Bool {
        (left.user, left.direction, left.state) < (right.user, right.direction, right.state)
    }
}

/// The labels of files that are counted together.
private struct FileGroup: Hashable, Comparable {
    let user: UInt32
    let handler: String

    static func < (left: Self, right: Self) -> Bool { (left.user, left.handler) < (right.user, right.handler) }
}

/// The number and the sizes of files that are counted together. A file that is added twice counts once.
private struct FileSums {
    private(set) var count = 0
    private(set) var allocated = 0.0
    private(set) var size = 0.0
    private var seen: Set<FileIdentity> = []

    mutating func add(_ file: LuodStatus.File) {
        if let identity = file.identity, !seen.insert(identity).inserted { return }
        count += 1
        allocated += Double(file.allocated ?? 0)
        size += Double(file.size ?? 0)
    }
}

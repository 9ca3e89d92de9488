/// What one run of `luoctl bench` found: what `--json` prints, `--against` compares and `--html` draws.
///
/// Times are in nanoseconds, sizes in bytes. A reader refuses a schema that it does not know; fields are only ever added
/// under the same number.
public struct BenchDocument: Codable, Equatable, Sendable {
    /// The one that this version writes.
    public static let currentSchema = "liveupdate-bench-1"

    /// Names the layout of everything below.
    public var schema = Self.currentSchema
    /// The command line that made it.
    public var command: [String]
    /// When it began, as ISO 8601 in UTC.
    public var started: String
    /// How long all of it took.
    public var seconds: Double
    /// What it ran on.
    public var machine: BenchMachine
    /// What makes the figures doubtful; empty on a quiet machine.
    public var warnings: [String]
    /// Everything that was measured, in the order in which it was.
    public var measurements: [BenchMeasurement]
    /// What was to be measured and could not be, and what it would take.
    public var absent: [BenchAbsence]
    /// What the slopes say of sizes that were not measured.
    public var projections: [BenchProjection]
    /// What is promised, and what was reached.
    public var targets: [BenchTarget]

    public init(
        command: [String], started: String, seconds: Double, machine: BenchMachine, warnings: [String] = [],
        measurements: [BenchMeasurement] = [], absent: [BenchAbsence] = [], projections: [BenchProjection] = [],
        targets: [BenchTarget] = []
    ) {
        self.command = command
        self.started = started
        self.seconds = seconds
        self.machine = machine
        self.warnings = warnings
        self.measurements = measurements
        self.absent = absent
        self.projections = projections
        self.targets = targets
    }
}

/// One thing that was measured, under one set of parameters.
public struct BenchMeasurement: Codable, Equatable, Sendable {
    /// `hugetlb`, `memfd`, `files`, `sessions`, `update`, `verify` or `compare`.
    public var scenario: String
    /// What was timed: `preserve`, `freeze`, `publish`, `boot`, `retrieve`, `finish`, `unpreserve`; `one more`; in
    /// `update` `cycle`, `cycle through a keeper`, and `blackout` with its parts `freeze`, `publish`, `execve`, `boot`,
    /// `answer`; of luod `luod: blackout` with its parts `luod: publish`, `take over`, `switch`, `answer`, the same behind
    /// `luod, loaded: `, and `luod: whole update` and `luod: preserve`; `crc32c`; in `compare` who did it: `liveupdate`, `memcpy, fresh`, `memcpy, touched`, `systemd store`,
    /// `criu`.
    public var name: String
    /// Under what: `bytes`, `page`, `files`, `sessions`, `holes` (percent), `descriptors`, `processors`. With scenario and name it
    /// tells a measurement from all others.
    public var parameters: [String: UInt64]
    /// How long ours took.
    public var ours: BenchDistribution
    /// How long the least took that could do it: a C program with the same system calls, in alternation in the same run.
    public var floor: BenchDistribution?
    /// What that program does.
    public var floorName: String?
    /// What was counted, not timed: `system calls`, `arena bytes`, `arena bytes per huge page`, `nanoseconds per huge
    /// page`, `resident bytes`, `content bytes read`, `content bytes written`, `page faults`.
    public var counted: [String: Double]
    /// What the ratio to the floor is to be at most.
    public var ratioLimit: Double?
    /// In words, where the figures alone would mislead: what else the other tool does.
    public var note: String?

    public init(
        scenario: String, name: String, parameters: [String: UInt64] = [:], ours: BenchDistribution,
        floor: BenchDistribution? = nil, floorName: String? = nil, counted: [String: Double] = [:],
        ratioLimit: Double? = nil, note: String? = nil
    ) {
        self.scenario = scenario
        self.name = name
        self.parameters = parameters
        self.ours = ours
        self.floor = floor
        self.floorName = floorName
        self.counted = counted
        self.ratioLimit = ratioLimit
        self.note = note
    }

    /// Ours to the floor, both medians.
    public var ratio: Double? {
        guard let floor, floor.median > 0 else { return nil }
        return ours.median / floor.median
    }
}

/// Something that was not measured.
public struct BenchAbsence: Codable, Equatable, Sendable {
    /// As in ``BenchMeasurement``.
    public var scenario: String
    /// What is missing: `systemd store`, `criu`, `1 GiB pages`.
    public var name: String
    /// Why, in words.
    public var reason: String
    /// What it would take.
    public var remedy: String

    public init(scenario: String, name: String, reason: String, remedy: String) {
        self.scenario = scenario
        self.name = name
        self.reason = reason
        self.remedy = remedy
    }
}

/// What a measured slope says of a size that was not measured: marked as such wherever it is shown.
public struct BenchProjection: Codable, Equatable, Sendable {
    /// What would take that long: as in ``BenchMeasurement``.
    public var name: String
    /// Of the memory, in bytes.
    public var bytes: UInt64
    /// Of its pages, in bytes.
    public var page: UInt64
    /// Nanoseconds.
    public var time: Double
    /// Of the arena, in bytes.
    public var arena: Double
    /// The sizes between which the slope was measured, in bytes.
    public var measuredFrom: UInt64
    public var measuredTo: UInt64

    public init(
        name: String, bytes: UInt64, page: UInt64, time: Double, arena: Double, measuredFrom: UInt64, measuredTo: UInt64
    ) {
        self.name = name
        self.bytes = bytes
        self.page = page
        self.time = time
        self.arena = arena
        self.measuredFrom = measuredFrom
        self.measuredTo = measuredTo
    }
}

/// What a run ran on.
public struct BenchMachine: Codable, Equatable, Sendable {
    /// As uname(2) says.
    public var kernel: String
    /// As /proc/cpuinfo says.
    public var processor: String
    /// That this process may use.
    public var processors: Int
    /// NUMA nodes with memory.
    public var nodes: Int
    /// In bytes.
    public var memory: UInt64
    /// Of the frequency, where there is one.
    public var governor: String?
    /// The hypervisor, where it runs in one.
    public var hypervisor: String?
    /// Averages of the load over 1, 5 and 15 minutes, when it began.
    public var load: [Double]
    /// Huge page pools, when it began.
    public var pools: [Pool]

    /// A huge page pool.
    public struct Pool: Codable, Equatable, Sendable {
        /// In bytes.
        public var page: UInt64
        public var total: UInt64
        public var free: UInt64

        public init(page: UInt64, total: UInt64, free: UInt64) {
            self.page = page
            self.total = total
            self.free = free
        }
    }

    public init(
        kernel: String, processor: String, processors: Int, nodes: Int, memory: UInt64, governor: String?,
        hypervisor: String?, load: [Double], pools: [Pool]
    ) {
        self.kernel = kernel
        self.processor = processor
        self.processors = processors
        self.nodes = nodes
        self.memory = memory
        self.governor = governor
        self.hypervisor = hypervisor
        self.load = load
        self.pools = pools
    }
}

// SPDX-License-Identifier: Apache-2.0

/// The result of one run of `luoctl bench`: the document that `--json` prints, `--against` compares and `--html` draws.
///
/// Times are in nanoseconds, sizes in bytes. A reader refuses a schema that it does not know. A schema keeps its number
/// as long as changes only add fields.
package struct BenchDocument: Codable, Equatable, Sendable {
    /// The schema that this version writes.
    package static let currentSchema = "liveupdate-bench-1"

    /// The name of the layout of all other fields.
    package var schema = Self.currentSchema
    /// The command line of the run.
    package var command: [String]
    /// The start time, as ISO 8601 in UTC.
    package var started: String
    /// The duration of the whole run.
    package var seconds: Double
    /// The machine of the run.
    package var machine: BenchMachine
    /// The reasons to doubt the figures; empty on a quiet machine.
    package var warnings: [String]
    /// All measurements, in the order in which they were made.
    package var measurements: [BenchMeasurement]
    /// The things that could not be measured, each with the reason and a remedy.
    package var absent: [BenchAbsence]
    /// Estimates for sizes that were not measured, from the measured slopes.
    package var projections: [BenchProjection]
    /// The promised limits, and the values that this run reached.
    package var targets: [BenchTarget]

    package init(
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

/// The error for a document with a layout that this version does not know.
package struct BenchSchemaError: Error, Equatable, CustomStringConvertible {
    /// The schema that the document names.
    package let found: String

    /// Names the schema that was found and the known one, and says what to do.
    package var description: String {
        """
        a benchmark's result with the schema \(found), and this version reads \(BenchDocument.currentSchema); \
        measure again, or compare with the version that made it
        """
    }
}

extension BenchDocument {
    /// The fields that every document has, in any layout. Decode them first: the rest may have an unknown layout.
    package struct Header: Decodable, Sendable {
        /// The name of the layout of the other fields.
        package let schema: String

        /// Throws if this version cannot read the other fields.
        package func check() throws(BenchSchemaError) {
            if schema != BenchDocument.currentSchema { throw BenchSchemaError(found: schema) }
        }
    }
}

/// The result of one measurement, under one set of parameters.
package struct BenchMeasurement: Codable, Equatable, Sendable {
    /// `hugetlb`, `memfd`, `files`, `sessions`, `update`, `verify` or `compare`.
    package var scenario: String
    /// The name of the timed work.
    ///
    /// * Phases: `preserve`, `freeze`, `publish`, `boot`, `retrieve`, `finish`, `unpreserve`.
    /// * In `files` and `sessions`: `one more`.
    /// * In `update`: `cycle`, `cycle through a keeper`, and `blackout` with its parts `freeze`, `publish`, `execve`,
    ///   `boot`, `answer`.
    /// * In `update`, of luod: `luod: blackout` with its parts `luod: publish`, `take over`, `switch`, `answer`; the
    ///   same after `luod, loaded: `; `luod: whole update`; `luod: preserve`.
    /// * In `verify`: `crc32c`.
    /// * In `compare`, the name of the compared tool: `liveupdate`, `memcpy, fresh`, `memcpy, touched`,
    ///   `systemd store`, `criu`.
    package var name: String
    /// The conditions of the measurement: `bytes`, `page`, `files`, `sessions`, `holes` (percent), `descriptors`,
    /// `processors`. Together with the scenario and the name, they identify a measurement.
    package var parameters: [String: UInt64]
    /// The time that this library took.
    package var ours: BenchDistribution
    /// The time of the floor: a C program that makes the same system calls, measured alternately in the same run.
    package var floor: BenchDistribution?
    /// A description of that program.
    package var floorName: String?
    /// Figures that were counted, not timed: `system calls`, `arena bytes`, `arena bytes per huge page`,
    /// `nanoseconds per huge page`, `resident bytes`, `content bytes read`, `content bytes written`, `page faults`.
    package var counted: [String: Double]
    /// The upper limit of the ratio to the floor.
    package var ratioLimit: Double?
    /// An explanation for figures that alone would mislead, such as the additional work of another tool.
    package var note: String?

    package init(
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

    /// The ratio of our median to the median of the floor.
    package var ratio: Double? {
        guard let floor, floor.median > 0 else { return nil }
        return ours.median / floor.median
    }
}

extension BenchMeasurement {
    /// The parameters in words: `1 GiB in pages of 2 MiB`, `4 files`. Parameters that say nothing are left out.
    var conditions: [String] {
        var parts: [String] = []
        if let bytes = parameters["bytes"], !isOfSmallFiles {
            parts.append(Self.size(bytes) + (parameters["page"].map { " in pages of \(Self.size($0))" } ?? ""))
        }
        for key in ["files", "sessions", "descriptors", "processors"] {
            if let count = parameters[key] { parts.append(Parameters.text(key, count)) }
        }
        if let holes = parameters["holes"], holes > 0 { parts.append("\(holes) % holes") }
        return parts
    }

    /// Whether the files have one base page each. The number of files then identifies the measurement.
    private var isOfSmallFiles: Bool {
        guard let page = parameters["page"], let files = parameters["files"] else { return false }
        return page < 64 << 10 && page * files == parameters["bytes"]
    }

    static func size(_ bytes: UInt64) -> String {
        for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] where bytes >> shift > 0 {
            return "\(bytes >> shift) \(unit)"
        }
        return "\(bytes) B"
    }
}

/// A measurement that could not be made.
package struct BenchAbsence: Codable, Equatable, Sendable {
    /// As in ``BenchMeasurement``.
    package var scenario: String
    /// The missing thing: `systemd store`, `criu`, `1 GiB pages`.
    package var name: String
    /// The reason, in words.
    package var reason: String
    /// The action that makes the measurement possible.
    package var remedy: String

    package init(scenario: String, name: String, reason: String, remedy: String) {
        self.scenario = scenario
        self.name = name
        self.reason = reason
        self.remedy = remedy
    }
}

/// The machine of a run.
package struct BenchMachine: Codable, Equatable, Sendable {
    /// The name and release from uname(2).
    package var kernel: String
    /// The name from /proc/cpuinfo.
    package var processor: String
    /// The number of processors that this process may use.
    package var processors: Int
    /// The number of NUMA nodes with memory.
    package var nodes: Int
    /// The size of the memory, in bytes.
    package var memory: UInt64
    /// The frequency governor, if there is one.
    package var governor: String?
    /// The hypervisor, if the machine is virtual.
    package var hypervisor: String?
    /// The load averages over 1, 5 and 15 minutes at the start of the run.
    package var load: [Double]
    /// The huge page pools at the start of the run.
    package var pools: [Pool]

    /// A huge page pool.
    package struct Pool: Codable, Equatable, Sendable {
        /// The size of a page, in bytes.
        package var page: UInt64
        package var total: UInt64
        package var free: UInt64

        package init(page: UInt64, total: UInt64, free: UInt64) {
            self.page = page
            self.total = total
            self.free = free
        }
    }

    package init(
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

// SPDX-License-Identifier: Apache-2.0
extension BenchMeasurement {
    /// The name of the measurement with its parameters: `preserve, 1 GiB in pages of 2 MiB, 4 files`.
    public var label: String {
        var parts = [name]
        if let bytes = parameters["bytes"], !isOfSmallFiles {
            parts.append(Self.size(bytes) + (parameters["page"].map { " in pages of \(Self.size($0))" } ?? ""))
        }
        for key in ["files", "sessions", "descriptors", "processors"] {
            guard let count = parameters[key] else { continue }
            let one = key.dropLast()
            parts.append("\(count) \(one)\(count == 1 ? "" : "s")")
        }
        if let holes = parameters["holes"], holes > 0 { parts.append("\(holes) % holes") }
        return parts.joined(separator: ", ")
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

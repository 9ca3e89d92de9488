// SPDX-License-Identifier: Apache-2.0
import LiveUpdateCommandLine
import LiveUpdateKernel
import LiveUpdatePlatform

/// The DAX regions of a machine, for people and for machines.
struct DaxReport {
    let regions: [DaxRegion]
    let commandLine: KernelCommandLine
    let holdings: DaxHoldings
    /// Whether a virtio-pmem device has no driver.
    let lacksDriver: Bool

    // MARK: For people

    var text: String {
        (regions.isEmpty ? ["this machine has no DAX region"] : [table]).joined()
            + ([""] + [held].compactMap { $0 } + remarks).joined(separator: "\n")
    }

    /// The files that luod holds on each device.
    private var held: String? {
        var table = Table(["region", "device", "user", "session", "tokens", "size"])
        var isEmpty = true
        for region in regions {
            for device in region.devices {
                for session in holdings.sessions(on: device) {
                    let first = session.files[0]
                    isEmpty = false
                    table.add([
                        region.name.shown, device.name.shown, "\(first.user)", first.session.shown, session.tokens,
                        ByteCount.text(session.bytes),
                    ])
                }
            }
        }
        return isEmpty ? nil : "\n\(table.text)\n"
    }

    private var table: String {
        var table = Table(["region", "source", "start", "size", "align", "device", "on it"])
        for region in regions {
            let first = [
                region.name.shown, source(of: region).shown, region.start.map(Self.hexadecimal) ?? "hidden",
                ByteCount.text(region.size), region.alignment.map(ByteCount.text) ?? "-",
            ]
            guard !region.devices.isEmpty else {
                table.add(first + ["none", "-"])
                continue
            }
            for (index, device) in region.devices.enumerated() {
                let beginning = index == 0 ? first : first.map { _ in "" }
                table.add(beginning + [device.name.shown, Self.content(of: device).shown])
            }
        }
        return table.text
    }

    /// The argument of the command line that makes a region, or else the origin of the region.
    private func source(of region: DaxRegion) -> String {
        region.entry(in: commandLine)?.argument ?? region.source.description
    }

    private static func content(of device: DaxDevice) -> String {
        switch device.content {
        case .fileSystem(let type, let mounts):
            let places = mounts.map { "on \($0.point), dax=\($0.rule.rawValue)" }.joined(separator: "; ")
            return
                "\(type) \(places.isEmpty ? "that is not mounted" : places)\(device.allowsDAX ? "" : ", without DAX")"
        case .unknown: return "unknown content"
        case .empty: return "empty"
        case .device(let alignment): return "devdax" + (alignment.map { ", mapped by \(ByteCount.text($0))" } ?? "")
        case .systemRAM: return "ordinary memory of the kernel"
        }
    }

    private var remarks: [String] {
        var remarks: [String] = []
        for entry in unclaimed {
            remarks.append(
                "\(entry.argument) of the command line has no region: run modprobe -a nd_pmem nd_e820 as root")
        }
        if lacksDriver { remarks.append("a virtio-pmem device has no driver: run modprobe virtio_pmem as root") }
        if regions.isEmpty, unclaimed.isEmpty, !lacksDriver {
            remarks.append("luoctl dax plan --size 64G says how to make one")
        }
        if regions.contains(where: { $0.start == nil }) { remarks.append("only root sees the addresses") }
        if !regions.isEmpty { remarks += remarksAboutHoldings }
        for device in regions.flatMap(\.devices) where !device.allowsDAX {
            remarks.append(
                "\(device.path.shown) does not allow DAX: give its namespace the mode fsdax with "
                    + "ndctl create-namespace -m fsdax, which erases it")
        }
        return remarks
    }

    private var remarksAboutHoldings: [String] {
        if let reason = holdings.reason { return ["files of sessions are not shown: \(reason.shown)"] }
        if holdings.lost > 0 {
            return ["luod has lost \(counted(holdings.lost, "file")) on DAX: luoctl status shows them"]
        }
        return holdings.files?.isEmpty == true ? ["luod holds no file on DAX"] : []
    }

    /// The ranges of the command line without a region. If the kernel hides addresses, they cannot be compared, and
    /// this is empty.
    private var unclaimed: [Memmap] {
        guard regions.allSatisfy({ $0.source != .e820 || $0.range != nil }) else { return [] }
        return commandLine.memmaps.filter { entry in
            entry.kind == .persistent && !regions.contains { $0.range.map(entry.range.contains) == true }
        }
    }

    static func hexadecimal(_ number: UInt64) -> String { "0x\(String(number, radix: 16))" }

    // MARK: For machines

    var json: String {
        struct Output: Encodable {
            let version = 1
            let regions: [Region]
            /// The reason why luod does not say which files it holds.
            let luodReason: String?
            let remarks: [String]
        }
        return jsonText(
            Output(
                regions: regions.map { Region($0, source(of: $0), holdings) }, luodReason: holdings.reason,
                remarks: remarks))
    }

    private struct Region: Encodable {
        let region: String
        let source: String
        let argument: String?
        let start: UInt64?
        let size: UInt64
        let alignment: UInt64?
        let isUsed: Bool
        let devices: [Device]

        init(_ region: DaxRegion, _ source: String, _ holdings: DaxHoldings) {
            self.region = region.name
            self.source = region.source.description
            argument = source.hasPrefix("memmap=") ? source : nil
            start = region.start
            size = region.size
            alignment = region.alignment
            isUsed = region.isUsed
            devices = region.devices.map { Device($0, holdings) }
        }
    }

    private struct Device: Encodable {
        struct Mount: Encodable {
            let path: String
            let dax: String
        }
        let device: String
        let start: UInt64?
        let size: UInt64
        let uuid: String?
        let allowsDax: Bool
        /// "file-system", "devdax", "empty", "unknown" or "system-ram".
        let content: String
        let fileSystem: String?
        let mounts: [Mount]?
        /// The size of the mappings of a devdax device.
        let alignment: UInt64?
        /// The files that luod holds there; nil when luod does not say.
        let held: [Held]?

        struct Held: Encodable {
            let user: UInt32
            let session: String
            let direction: String
            let tokens: [String]
            let bytes: UInt64
        }

        init(_ device: DaxDevice, _ holdings: DaxHoldings) {
            held = holdings.files.map { _ in
                holdings.sessions(on: device).map { session in
                    Held(
                        user: session.files[0].user, session: session.files[0].session,
                        direction: session.files[0].direction, tokens: session.files.map(\.token), bytes: session.bytes)
                }
            }
            self.device = device.path
            start = device.start
            size = device.size
            uuid = device.uuid
            allowsDax = device.allowsDAX
            var found: (type: String?, mounts: [Mount]?, alignment: UInt64?)
            switch device.content {
            case .fileSystem(let type, let mounts):
                content = "file-system"
                found = (type, mounts.map { Mount(path: $0.point, dax: $0.rule.rawValue) }, nil)
            case .device(let alignment):
                content = "devdax"
                found.alignment = alignment
            case .empty: content = "empty"
            case .unknown: content = "unknown"
            case .systemRAM: content = "system-ram"
            }
            (fileSystem, mounts, alignment) = found
        }
    }
}

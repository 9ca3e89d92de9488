// SPDX-License-Identifier: Apache-2.0
import FoundationEssentials
import Glibc
import LiveUpdateBenchReport
import LiveUpdatePlatform

extension BenchMachine {
    /// Describes this machine in its present state.
    static func current() -> BenchMachine {
        var name = utsname()
        unsafe uname(&name)
        let cpuInfo = text("/proc/cpuinfo") ?? ""
        return BenchMachine(
            kernel: "\(string(name.sysname)) \(string(name.release)) \(string(name.machine))",
            processor: field("model name", of: cpuInfo) ?? string(name.machine), processors: Processors.allowed.count,
            nodes: MachineNodes.own.countWithMemory, memory: memory,
            governor: text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            hypervisor: hypervisor(cpuInfo), load: BenchNoise.load,
            pools: ((try? HugePagePool.all()) ?? []).map {
                Pool(page: $0.pageSize.bytes, total: $0.total, free: $0.free)
            })
    }

    private static func text(_ path: String) -> String? {
        (try? String(contentsOfFile: path, encoding: .utf8)).map(trimmed)
    }

    /// The value of a line `name : value`.
    private static func field(_ name: String, of text: String) -> String? {
        text.split(separator: "\n").first { $0.hasPrefix(name) }?.split(separator: ":", maxSplits: 1).last
            .map(trimmed)
    }

    private static func trimmed(_ text: some StringProtocol) -> String {
        var rest = Substring(text).drop(while: \.isWhitespace)
        while rest.last?.isWhitespace == true { rest.removeLast() }
        return String(rest)
    }

    private static func string<Name>(_ name: Name) -> String {
        var name = name
        // SAFETY: uname(2) ends each of its names with a NUL.
        return unsafe withUnsafeBytes(of: &name) { unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    private static var memory: UInt64 {
        let line = field("MemTotal", of: text("/proc/meminfo") ?? "") ?? ""
        return (UInt64(line.filter(\.isNumber)) ?? 0) << 10
    }

    private static func hypervisor(_ cpuInfo: String) -> String? {
        if let type = text("/sys/hypervisor/type") { return type }
        guard (field("flags", of: cpuInfo) ?? "").split(separator: " ").contains("hypervisor") else { return nil }
        return text("/sys/class/dmi/id/sys_vendor") ?? "one that does not say its name"
    }
}

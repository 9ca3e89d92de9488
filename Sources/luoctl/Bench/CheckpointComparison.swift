import Foundation
import Glibc
import Platform
import SystemPackage

/// CRIU: a process is dumped into files in memory, ends, and is restored from them.
struct CheckpointComparison {
    private let run: BenchRun

    init(_ run: BenchRun) { self.run = run }

    func measure(_ bytes: UInt64) throws {
        guard let criu = BenchTool.path("criu") else {
            return miss("criu", "it is not installed", "install the package criu")
        }
        let check = try BenchTool.run(criu, ["check"])
        guard check.status == 0 else {
            let reason = check.output.split(separator: "\n").last { $0.contains("Error") } ?? "it does not say why"
            return miss("criu", "criu check fails: \(reason)", "install a version of CRIU that works with this kernel")
        }
        for page in [PageSize.huge2M, .base] { try measure(criu, bytes, page) }
    }

    private func measure(_ criu: String, _ bytes: UInt64, _ page: PageSize) throws {
        // Theirs, ours, and what is restored while theirs ends.
        let count = page == .base ? 0 : 3 * bytes / page.bytes
        let problem = try BenchMemory.withHugePages(count, .huge2M) {
            try BenchMemory.withFiles(1, of: bytes, page) { try measure(criu, $0, bytes, page) }
        }
        if let problem {
            miss("criu", problem, "luoctl hugepages reserve --size 2M --count \(count)")
        }
    }

    private func measure(_ criu: String, _ files: [FileDescriptor], _ bytes: UInt64, _ page: PageSize) throws {
        let updates = try UpdateRounds(run, files, page)
        var theirs: [Double] = []
        for _ in 0..<run.rounds(quick: 2, full: 7) {
            try updates.measure(rounds: 1)
            switch try round(criu, bytes, page) {
            case .success(let time): theirs.append(time)
            case .failure(let reason):
                return miss(
                    "criu, \(page) pages", reason.text, "try criu dump of such a process by hand: it says why it cannot"
                )
            }
        }
        let parameters = ["bytes": bytes, "page": page.bytes]
        run.addOurs(
            updates.ours, parameters, floor: updates.exec,
            "C: execve with the same descriptors, and a word of each read")
        run.addOther(
            "criu", parameters, theirs,
            note: "dump and restore by way of files in memory; CRIU saves the whole process, which knows nothing of it")
    }

    private struct Reason: Error { let text: String }

    private func round(_ criu: String, _ bytes: UInt64, _ page: PageSize) throws -> Result<Double, Reason> {
        let directory = "/dev/shm/luoctl-bench-criu-\(getpid())"
        try? FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let holder = try ChildProcess.start(
            run.programs.image(.service, ["hold", "\(bytes)", page == .base ? "ordinary" : "huge"]))
        guard holder.readLine() == "ready" else {
            holder.kill()
            holder.finish()
            return .failure(Reason(text: "the process that is to be dumped did not start"))
        }
        let start = monotonicNanoseconds()
        let dump = try BenchTool.run(criu, ["dump", "-t", "\(holder.id)", "-D", directory, "-v1"])
        if dump.status != 0 { holder.kill() }
        holder.finish()
        guard dump.status == 0 else { return .failure(Reason(text: "criu dump: \(Self.last(dump.output))")) }
        let pidFile = "\(directory)/pid"
        let restore = try BenchTool.run(criu, ["restore", "-D", directory, "-d", "--pidfile", pidFile, "-v1"])
        let time = Double(monotonicNanoseconds() - start)
        guard restore.status == 0 else { return .failure(Reason(text: "criu restore: \(Self.last(restore.output))")) }
        if let text = try? String(contentsOfFile: pidFile, encoding: .utf8), let id = pid_t(text.filter(\.isNumber)) {
            kill(id, SIGKILL)
        }
        return .success(time)
    }

    private static func last(_ output: String) -> String { String(output.split(separator: "\n").last ?? "no message") }

    private func miss(_ name: String, _ reason: String, _ remedy: String) {
        run.miss(.compare, name, reason, remedy: remedy)
    }
}

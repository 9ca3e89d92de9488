// SPDX-License-Identifier: Apache-2.0
import LiveUpdatePlatform
import SystemPackage

/// The comparison with CRIU: CRIU dumps a process into files in memory, the process ends, and CRIU restores it.
///
/// All of this is in namespaces that end with luo-bench, however it ends. Otherwise the process and the files would
/// stay, because the process waits for no other process.
struct CheckpointComparison {
    private let run: BenchRun

    init(_ run: BenchRun) { self.run = run }

    func measure(_ bytes: UInt64) throws {
        guard let criu = BenchTool.path("criu"), let unshare = BenchTool.path("unshare") else {
            return miss("criu", "it is not installed, or unshare(1) is not", "install the packages criu and util-linux")
        }
        let check = try BenchTool.run(criu, ["check"])
        guard check.status == 0 else {
            let reason = check.output.split(separator: "\n").last { $0.contains("Error") } ?? "it does not say why"
            return miss("criu", "criu check fails: \(reason)", "install a version of CRIU that works with this kernel")
        }
        for page in [PageSize.huge2M, .base] { try measure([unshare, Self.script, criu], bytes, page) }
    }

    private func measure(_ tools: [String], _ bytes: UInt64, _ page: PageSize) throws {
        // Pages for three copies: CRIU's process, our files, and the restored process while the dumped one ends.
        let count = page == .base ? 0 : 3 * bytes / page.bytes
        let problem = try run.withHugePages(count, .huge2M) {
            try BenchMemory.withFiles(1, of: bytes, page) { try measure(tools, $0, bytes, page) }
        }
        if let problem {
            miss("criu", problem, BenchMemory.remedy(count))
        }
    }

    private func measure(_ tools: [String], _ files: [FileDescriptor], _ bytes: UInt64, _ page: PageSize) throws {
        let updates = try UpdateRounds(run, files, page)
        let service = run.programs.path(.service)
        let room = try BenchTool.shell(
            """
            exec 2>&1 setpriv --pdeathsig KILL "$1" -m -p -f --kill-child --mount-proc \\
                /bin/sh -c "$2" luoctl-bench "$3" "$4" "$5" "$6"
            """, tools + [service, "\(bytes)", page == .base ? "ordinary" : "huge"])
        defer { room.finish() }
        var theirs: [Double] = []
        for _ in 0..<run.rounds(quick: 2, full: 7) {
            try updates.measure(rounds: 1)
            // The write fails if the shell has ended. The line that is read next then says why.
            try? room.write(line: "hold")
            var answer = room.readLine()
            let time = try elapsed {
                guard answer == "ready" else { return }
                try room.write(line: "dump")
                answer = room.readLine()
            }
            guard answer == "restored" else {
                return miss(
                    "criu, \(page) pages", answer ?? "it ended",
                    "try criu dump of such a process by hand: it says why it cannot")
            }
            theirs.append(time)
        }
        let parameters = ["bytes": bytes, "page": page.bytes]
        run.addOurs(
            updates.ours, parameters, floor: updates.exec,
            "C: execve with the same descriptors, and a word of each read")
        run.addOther(
            "criu", parameters, theirs,
            note: "dump and restore by way of files in memory; CRIU saves the whole process, which knows nothing of it")
    }

    private func miss(_ name: String, _ reason: String, _ remedy: String) {
        run.miss(.compare, name, reason, remedy: remedy)
    }

    /// The script that runs CRIU. Its arguments are criu, the program of the process, its bytes, and its kind of pages.
    ///
    /// In each round it reads a line, starts the process, prints `ready`, reads another line, dumps and restores the
    /// process, and prints `restored`.
    private static let script = """
        set -e
        mount --make-rprivate /
        mount -t tmpfs tmpfs /dev/shm
        cd /dev/shm
        mkfifo ready
        while read line; do
            mkdir images
            "$2" hold "$3" "$4" >ready &
            holder=$!
            read line <ready || { echo "the process for CRIU did not start"; exit 1; }
            echo ready
            read line
            "$1" dump -t $holder -D images -v1 >log 2>&1 || { echo "criu dump: $(tail -n 1 log)"; exit 1; }
            wait $holder || true
            "$1" restore -D images -d --pidfile /dev/shm/images/pid -v1 >log 2>&1 ||
                { echo "criu restore: $(tail -n 1 log)"; exit 1; }
            echo restored
            kill -KILL $(cat images/pid)
            rm -r images
        done
        """
}

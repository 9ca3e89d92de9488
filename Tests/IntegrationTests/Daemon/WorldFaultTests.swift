// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdateHandover
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// Faults of the world around luod: docs/reliability.md has a sentence for each.
@Suite struct WorldFaultTests {
    /// Runs a shell script as root in namespaces of its own, so that its mounts and processes end with it. `S` is a
    /// state directory on /mnt, `begin` starts luod as process `K`, `hold S T` preserves a file, and `log` prints the
    /// log.
    private func script(_ text: String) async throws -> Ended {
        let prelude = """
            mount -t tmpfs none /mnt && mkdir /mnt/files && S=/mnt/state || exit 70
            ctl() { command=$1; shift; "$LUOCTL" $command --state $S "$@"; }
            begin() {
                "$LUOD" --state $S "$@" >/mnt/out 2>>/mnt/log & K=$!
                until grep -q ready /mnt/out; do sleep 0.05; kill -0 $K || exit 71; done
            }
            hold() {
                echo "content $2" >/mnt/files/$1-$2; exec 9<>/mnt/files/$1-$2; rm /mnt/files/$1-$2
                "$LUOCTL" preserve --state $S --session $1 --token $2 --fd 9
            }
            orchestrator() { ctl status --json | sed -n 's/.*"orchestrator" : \\([0-9]*\\).*/\\1/p' | head -1; }
            log() { cat /mnt/log; }
            eventually() { for i in $(seq 600); do eval "$1" && return; sleep 0.1; done; echo "not: $1"; exit 72; }

            """
        return try await run(
            [
                "/usr/bin/unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child",
                "--mount-proc", "/bin/bash", "-c", prelude + text,
            ], environment: ["LUOD=\(Program.path("luod"))", "LUOCTL=\(Program.path("luoctl"))"])
    }

    private func expect(_ ended: Ended, _ parts: String...) {
        #expect(ended.status == 0, "\(ended)")
        for part in parts { #expect(ended.output.contains(part), "\(part): \(ended)") }
    }

    // MARK: The state directory

    @Test("A full state directory refuses further files, and nothing else", .requiresRoot) func full() async throws {
        let ended = try await script(
            """
            mkdir $S && mount -t tmpfs -o size=200k,mode=711 none $S && begin
            "$LUOCTL" session create vm --state $S; hold vm 1
            dd if=/dev/zero of=$S/ballast bs=4k 2>/dev/null
            token=2; while hold vm $token 2>/mnt/error; do token=$((token + 1)); [ $token -lt 100 ] || exit 73; done
            cat /mnt/error
            kill -9 $(orchestrator); ctl update >/dev/null && ctl status | head -1
            rm $S/ballast; "$LUOCTL" session create more --state $S && echo "room again"
            ctl retrieve --session vm --token 1 -- cat /proc/self/fd/3
            log; kill $K; wait $K
            """)
        expect(
            ended, "ENOSPC", "give the file system of its state more room", "healthy", "room again", "content 1",
            "limit reached: ")
    }

    @Test("A state on a read-only file system: 69 with the remedy, and luod that runs goes on", .requiresRoot)
    func readOnly() async throws {
        let ended = try await script(
            """
            begin; "$LUOCTL" session create vm --state $S; hold vm 1
            mount --bind $S $S && mount -o remount,ro,bind $S && touch $S/x 2>/dev/null && exit 73
            kill -9 $(orchestrator); ctl update >/dev/null && ctl status | head -1
            ctl retrieve --session vm --token 1 -- cat /proc/self/fd/3
            kill $K; wait $K
            "$LUOD" --state $S; echo "exit $?"
            """)
        expect(ended, "healthy", "content 1", "exit 69")
        #expect(ended.errors.contains("Read-only file system"), "\(ended)")
        #expect(ended.errors.contains("mount the file system for writing"), "\(ended)")
    }

    @Test("A removed state directory: connections go on, the log says it, and luod makes the sockets again")
    func removed() async throws {
        let daemon = try await RunningDaemon()
        let client = try daemon.connect()
        let session = try client.create("vm")
        try session.preserve(try MemoryFile(bytes: [7]), 1)
        try FileManager.default.removeItem(atPath: daemon.state)
        #expect(try session.get(1).bytes() == [7])
        try await eventually("the log", within: 60) {
            let log = try daemon.log()
            return log.contains("arena was removed: the state ends with luod") && log.contains("no client can connect")
        }
        // The other luod makes the directory, so that the first one makes its sockets in it.
        let other = try await daemon.startAnother()
        #expect(other.status == 69, "\(other)")
        try await eventually("a connection", within: 60) { (try? daemon.connect()) != nil }
        #expect(try daemon.connect().status().sessions.count == 1)
        #expect(try client.status().daemon.arenaIsNamed == false)
        #expect(try client.change(.update) == nil, "an update on the sockets that were made again")
        let end = try await daemon.end()
        #expect(end.errors.contains("1 session, 1 file"), "\(end)")
        #expect(!end.errors.contains("the next luod finds them"), "\(end)")
    }

    @Test("An unlinked socket is made again; connections, and the next orchestrators, go on") func socket() async throws
    {
        let daemon = try await RunningDaemon(["--socket-mode", "0640"])
        let client = try daemon.connect()
        let session = try client.create("vm")
        try session.preserve(try MemoryFile(bytes: [7]), 1)
        _ = try daemon.loadedStandby(client)
        for name in ["liveupdate", "root", "control"] { unsafe unlink("\(daemon.state)/\(name)") }
        try await eventually("a connection", within: 60) { (try? daemon.connect()) != nil }
        var found = stat()
        #expect(unsafe stat("\(daemon.state)/liveupdate", &found) == 0 && found.st_mode & 0o777 == 0o640)
        try await eventually("the line", within: 60) {
            try daemon.log().contains("liveupdate was removed, and is made")
        }
        #expect(try session.get(1).bytes() == [7])
        #expect(try client.change(.update) == nil)
        #expect(try daemon.connect().status().updates == 1)
        kill(try client.status().orchestrator, SIGKILL)
        #expect(try daemon.connect().status().sessions.count == 1)
        #expect(try await daemon.startAnother().status == 69)
        daemon.killKeeper()
        try await daemon.start()
        let after = try daemon.connect().status()
        #expect(after.keeper == daemon.keeper, "over the control socket that was made again")
    }

    @Test("Two luods on one state: the second names the first, and ends with 69") func two() async throws {
        let daemon = try await RunningDaemon()
        let session = try daemon.connect().create("vm")
        let second = try await daemon.startAnother()
        #expect(second.status == 69 && second.errors.contains("process \(daemon.keeper)"), "\(second)")
        #expect(try session.name() == "vm")
    }

    @Test("The arena of luod 0.1.0 is read: its sessions are there, and the log names the lost files")
    func olderArena() async throws {
        let daemon = try await RunningDaemon()
        #expect(try await daemon.end().status == 0)
        let vector = Document.root.appendingPathComponent("Tests/Vectors/arena-0.1.0.gz").path
        let unpacked = try await run(["/bin/sh", "-c", "gzip -dc \"$0\" >\"$1\"", vector, daemon.state + "/arena"])
        #expect(unpacked.status == 0, "\(unpacked)")
        try await daemon.start()
        #expect(try daemon.log().contains("session \"kept\" of user 0 has lost the file of token 7"))
        let client = try daemon.connect()
        #expect(try client.status().sessions.map(\.name).sorted() == ["empty", "kept"])
        #expect(try client.change(.update) == nil)
    }

    // MARK: The clock

    @Test("luod reads no clock that can be set, except for times that are only shown")
    func clock() throws {
        // Time namespaces have no offset of CLOCK_REALTIME, and a test must not set the clock of its machine.
        let sources = Document.root.appendingPathComponent("Sources")
        let names = FileManager.default.enumerator(atPath: sources.path)?.compactMap { $0 as? String } ?? []
        let readers = try names.filter { $0.hasSuffix(".swift") && $0.hasPrefix("LiveUpdate") }.filter { name in
            let text = try String(contentsOf: sources.appendingPathComponent(name), encoding: .utf8)
            return ["CLOCK_REALTIME,", "wallClockNanoseconds()", "gettimeofday(", "Date()", "time(nil)"].contains {
                text.contains($0)
            }
        }
        #expect(
            Set(readers) == [
                "LiveUpdateDaemon/Log/LineHandler.swift", "LiveUpdateDaemon/Orchestrator/SessionOpener.swift",
                "LiveUpdateDaemon/Orchestrator/UpdateRunner.swift", "LiveUpdateKernel/KernelUpdateRecord.swift",
                "LiveUpdatePlatform/WallClock.swift",
            ], "\(readers)")
    }

    // MARK: Memory

    enum Victim: CaseIterable { case keeper, orchestrator, standby, gate }

    /// The kernel ends a process with SIGKILL in a shortage of memory.
    @Test("Each process of luod ended by SIGKILL: files and sessions stay", arguments: Victim.allCases)
    func killed(victim: Victim) async throws {
        let daemon = try await RunningDaemon()
        let client = try daemon.connect()
        let session = try client.create("vm")
        let file = try MemoryFile(bytes: [7])
        try session.preserve(file, 1)
        let before = try client.status()
        switch victim {
        case .keeper:
            daemon.killKeeper()
            try await eventually("the log", within: 60) { try daemon.log().contains("the keeper is gone") }
            #expect(try session.get(1).bytes() == [7])
            try await daemon.start()
        case .orchestrator: kill(before.orchestrator, SIGKILL)
        case .standby: kill(try daemon.loadedStandby(client), SIGKILL)
        case .gate:
            let program = try Program(
                [Program.path("luoctl"), "run", "--state", daemon.state, "--", "/bin/sleep", "600"])
            defer { program.kill() }
            let calls = daemon.state + "/calls"
            try await eventually("a gate", within: 60) { FileManager.default.fileExists(atPath: calls) }
            try await eventually("the gate's process", within: 60) {
                try client.status().processes.contains { $0.name == "gate" }
            }
            let gate = try #require(try client.status().processes.first { $0.name == "gate" }).process
            kill(gate, SIGKILL)
            try await eventually("the next gate", within: 60) {
                sleep(milliseconds: 100)
                return try daemon.log().contains("the gate ended (signal 9): another is started")
            }
        }
        #expect(try session.get(1).identity == file.identity)
        // An update with a standby that has just died is called off.
        try await eventually("an update", within: 60) { try client.change(.update) == nil }
        let incoming = try client.retrieveSession("vm")
        #expect(try incoming.retrieve(1).bytes() == [7])
    }

    // MARK: Huge pages

    @Test(
        "A pool that another program shrinks: the held pages stay, as surplus pages of luoctl hugepages",
        .requiresPoolRights(2))
    func shrunkPool() async throws {
        let daemon = try await RunningDaemon()
        let client = try daemon.connect()
        let session = try client.create("vm")
        let made = try LiveUpdatePlatform.makeMemoryFile(
            named: "pages", size: 2 * PageSize.huge2M.bytes, pageSize: .huge2M)
        try made.borrowed.allocate(offset: 0, length: 2 * PageSize.huge2M.bytes)
        try session.preserve(made.borrowed, 1)
        // Without free pages the kernel cannot take any, and counts the used ones as surplus.
        let rest = try EmptyPool()
        let before = try HugePagePool(.huge2M)
        try HugePageReservation.giveBack(2, of: .huge2M)
        // The pages become persistent again before they are freed.
        defer { try? Self.reserve(2) }
        let shrunk = try HugePagePool(.huge2M)
        #expect(shrunk.persistent == before.persistent - 2 && shrunk.surplus == before.surplus + 2)
        let pools = try await luoctl("hugepages")
        #expect(pools.output.contains(" \(shrunk.surplus)"), "\(pools)")
        let status = try await luoctl("status", "--state", daemon.state)
        #expect(status.status == 0 && status.output.contains("2 pages of 2 MiB"), "\(status)")
        #expect(try client.change(.update) == nil)
        let incoming = try client.retrieveSession("vm")
        #expect(try incoming.retrieve(1).identity == FileStatus(of: made.borrowed).identity)
        try incoming.finish()
        withExtendedLifetime(rest) {}
    }

    private static func reserve(_ pages: UInt64) throws {
        let path = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
        let persistent = try HugePagePool(.huge2M).persistent + pages
        try "\(persistent)\n".write(toFile: path, atomically: false, encoding: .utf8)
    }

    @Test(
        "hugetlbfs unmounted lazily and mounted again: held files go on, and an update names them or leaves them out",
        .requiresRoot, .requiresHugePages(2))
    func remounted() async throws {
        let ended = try await script(
            """
            mkdir /mnt/huge && mount -t hugetlbfs -o pagesize=2M none /mnt/huge && begin
            "$LUOCTL" session create vm --state $S
            fallocate -l 2M /mnt/huge/ram && ctl preserve --session vm --token 1 --path /mnt/huge/ram
            umount -l /mnt/huge && mount -t hugetlbfs -o pagesize=2M none /mnt/huge
            kill -9 $(orchestrator); ctl status | head -1; ctl update 2>&1
            ctl update --leave-out >/dev/null
            ctl retrieve --as-held --session vm --token 1 -- stat -L -c 'size %s' /proc/self/fd/3
            kill $K; wait $K; begin; ctl status | head -1; log
            """)
        expect(
            ended, "healthy", "1 file cannot be frozen", "/mnt/huge/ram: it is on device", "size 2097152",
            "degraded: 1 file lost", "has lost the file of token 1")
    }
}

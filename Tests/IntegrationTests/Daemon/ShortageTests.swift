// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import LiveUpdateCore
import LiveUpdatePlatform
import LiveUpdateProtocol
import SystemPackage
import TestSupport
import Testing

/// A shortage of the system is not a fault of a peer. Requests fail or wait, and luod ends none of its processes for
/// it.
@Suite(.requiresRoot) struct ShortageTests {
    /// Sends as many descriptors as a user may have in flight, or takes them back.
    ///
    /// It runs as a process of that user without any capability, and reads a line for each change.
    private static let script = """
        import array, os, resource, socket, sys
        pairs = []
        def fill():
            pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            pairs.append(pair)
            null = os.open("/dev/null", os.O_RDONLY)
            while True:
                try:
                    pair[0].sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null] * 16))])
                except OSError:
                    break
            while True:
                try:
                    pair[0].sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null]))])
                except OSError as error:
                    print("full", error.errno, flush=True)
                    return
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
        os.set_blocking(0, True)
        path = sys.argv[1]
        fill()
        while os.path.exists(path): os.stat(path); __import__("time").sleep(0.01)
        for pair in pairs:
            pair[0].close(); pair[1].close()
        print("empty", flush=True)
        __import__("time").sleep(1000)
        """

    @Test("Descriptors in flight at the limit of an ordinary user: preserve fails or waits, and the keeper stays")
    func inFlight() async throws {
        let room = try TemporaryDirectory(in: "/tmp")
        unsafe chmod(room.path, 0o777)
        try await install(["luod"].map(Program.path), into: room.path)
        let user = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]
        let state = "\(room.path)/s"
        let luod = try Program(
            user + ["/bin/sh", "-c", "ulimit -n 256 && exec \"$@\"", "sh", "\(room.path)/luod", "--state", state])
        try await eventually("a luod that is ready", within: 60) { try luod.outputSoFar.contains("ready") }
        let client = try DaemonClient(connectingTo: state + "/liveupdate")
        let before = try client.status()
        let session = try client.create("s")
        let files = try (0..<4).map { _ in try MemoryFile() }
        try session.preserve(files[0], 0)

        let flag = "\(room.path)/flag"
        try Data().write(to: URL(fileURLWithPath: flag))
        let other = try Program(user + ["/usr/bin/python3", "-c", Self.script, flag])
        try await eventually("a shortage", within: 60) { try other.outputSoFar.contains("full 109") }
        let refused = try refusal { try session.preserve(files[1], 1) }
        #expect(refused == .tooManyReferences)
        // luod holds no file of the failed request, and other requests work. An answer with a descriptor waits.
        let during = try session.name()
        #expect(during == "s")
        try session.unpreserve(0)
        try FileManager.default.removeItem(atPath: flag)
        try await eventually("the end of the shortage", within: 60) { try other.outputSoFar.contains("empty") }
        try session.preserve(files[2], 1)
        let after = try client.status()
        #expect(after.keeper == before.keeper && after.orchestrator == before.orchestrator)
        // The keeper has the new file, and not the released one.
        kill(after.orchestrator, SIGKILL)
        #expect(try session.take(1).identity == files[2].identity)
        #expect(try client.change(.update) == nil)
        kill(luod.process, SIGTERM)
        #expect(try await luod.ended().status == 0)
    }

    @Test("With a full file system SERVE gets ENOSPC, luoctl run reports it, and no gate dies") func full() async throws
    {
        let room = try TemporaryDirectory()
        let state = "\(room.path)/s"
        let script = """
            mount -t tmpfs -o size=256k,mode=711 none "$1" || exit 90
            "$2" --state "$1/s" >"$1.out" 2>"$1.err" & luod=$!
            for attempt in $(seq 600); do grep -q ready "$1.out" && break; sleep 0.05; done
            head -c 1000000 /dev/zero >"$1/ballast" 2>/dev/null
            timeout 30 "$3" run --state "$1/s" -- /bin/echo began
            echo "full: $?"
            rm "$1/ballast"
            timeout 30 "$3" run --state "$1/s" -- /bin/echo began
            echo "room: $?"
            kill $luod; wait $luod
            echo "luod: $?"
            cat "$1.err"
            """
        unsafe mkdir(state, 0o700)
        let ended = try await run(
            [
                "/usr/bin/unshare", "-m", "/bin/sh", "-c", script, "sh", state, Program.path("luod"),
                Program.path("luoctl"),
            ])
        #expect(!ended.output.contains("signal 7"), "\(ended)")
        let lines = ended.lines.filter { !$0.contains(" luod-") }
        #expect(lines.count == 4 && lines[0] != "full: 0" && lines[0] != "full: 124", "\(ended)")
        #expect(lines.dropFirst() == ["began", "room: 0", "luod: 0"], "\(ended)")
        #expect(ended.errors.contains("space") || ended.errors.contains("ENOSPC"), "\(ended)")
    }
}

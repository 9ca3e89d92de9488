// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import TestSupport
import Testing

/// The units of systemd/, as systemd reads them.
@Suite struct UnitTests {
    private static let analyze = "/usr/bin/systemd-analyze"
    private static let systemd = "/usr/lib/systemd/systemd"

    private static func isThere(_ path: String) -> Bool { FileManager.default.isExecutableFile(atPath: path) }

    private static func unit(_ name: String, _ changes: [(String, String)]) throws -> String {
        let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
            "../../../systemd/\(name)"
        ).path
        return try changes.reduce(String(contentsOfFile: path, encoding: .utf8)) {
            $0.replacingOccurrences(of: $1.0, with: $1.1)
        }
    }

    @Test(
        "systemd-analyze verify reports nothing",
        .enabled(if: isThere(analyze), "no systemd-analyze: install systemd"))
    func verify() async throws {
        let directory = try TemporaryDirectory()
        var paths: [String] = []
        for name in ["luod.service", "luod.socket"] {
            let path = directory.file(name)
            try Self.unit(name, [("SBINDIR", Program.directory)]).write(
                toFile: path, atomically: true, encoding: .utf8)
            paths.append(path)
        }
        let ended = try await run([Self.analyze, "verify", "--man=no"] + paths)
        #expect(ended.status == 0 && ended.errors.isEmpty, "\(ended)")
    }

    @Test("The clients' socket is for a group, and a luod that cannot begin is not restarted") func content() throws {
        let (service, socket) = (try Self.unit("luod.service", []), try Self.unit("luod.socket", []))
        #expect(socket.contains("\nSocketMode=0660\n") && socket.contains("\nSocketGroup=luo\n"))
        #expect(service.contains("\nRestartPreventExitStatus=64 65 69 77\n") && !service.contains("WatchdogSec"))
        #expect(try Self.unit("luod.sysusers", []).split(separator: "\n").contains("g luo -"))
    }

    @Test(
        "A real systemd starts luod for its first client, and again whenever both its processes are killed",
        .enabled(if: isThere(systemd) && geteuid() == 0, "no systemd, or not root"))
    func realManager() async throws {
        // This machine need not have the group.
        let place = [
            ("SBINDIR", Program.directory), ("/run/luo", "/run/user/0/luo"), ("SocketGroup=luo", "SocketGroup=root"),
        ]
        let ended = try await run([
            "/usr/bin/unshare", "-m", "-p", "-f", "--kill-child", "--mount-proc", "/bin/sh", "-c",
            Self.manager + Self.restarts, "units",
            try Self.unit("luod.service", place), try Self.unit("luod.socket", place), Program.path("luoctl"),
            Self.systemd,
        ])
        #expect(ended.status == 0, "\(ended)")
        #expect(
            ended.lines.suffix(5) == [
                "killed: content", "restarted: content", "mode: 660", "damaged: exit-code 65, 0 restarts", "inactive",
            ], "\(ended)")
    }

    @Test(
        "A real systemd with the drop-in leaves the holder alone, and the next luod takes everything back from it",
        .enabled(if: isThere(systemd) && geteuid() == 0, "no systemd, or not root"))
    func holder() async throws {
        let place = [
            ("SBINDIR", Program.directory), ("/run/luo", "/run/user/0/luo"), ("SocketGroup=luo", "SocketGroup=root"),
        ]
        let ended = try await run([
            "/usr/bin/unshare", "-m", "-p", "-f", "--kill-child", "--mount-proc", "/bin/sh", "-c",
            Self.manager + Self.kernelUpdate, "units", try Self.unit("luod.service", place),
            try Self.unit("luod.socket", place), Program.path("luoctl"), Self.systemd,
            try Self.unit("luod-kexec.conf", []),
        ])
        #expect(ended.status == 0, "\(ended)")
        #expect(
            ended.lines.suffix(4) == [
                "asked: 0", "stopped: inactive success, @luod", "again: content", "the holder has ended",
            ], "\(ended)")
    }

    /// luod is asked to publish at its end, stopped by systemd, and started again.
    private static let kernelUpdate = """

        ask='
        import socket, struct, sys
        luod = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        luod.connect(sys.argv[1])
        luod.send(struct.pack("<III", 0xBA2C, 4152, 32 | 2) + bytes(4144))
        print("asked:", struct.unpack("<i", luod.recv(8192)[:4])[0])
        '
        mkdir -p /run/user/0/systemd/user/luod.service.d
        printf '%s' "$5" >/run/user/0/systemd/user/luod.service.d/kexec.conf
        systemctl --user daemon-reload
        systemctl --user start luod.service
        "$3" session create s
        printf content >/dev/shm/content-$$
        exec 3</dev/shm/content-$$
        rm /dev/shm/content-$$
        "$3" preserve --session s --token 1 --fd 3
        exec 3<&-
        python3 -c "$ask" $LUO_STATE/root
        timeout 60 systemctl --user stop luod.service
        holder=$(cut -d ' ' -f 2 $LUO_STATE/holder)
        echo "stopped: $(show ActiveState) $(show Result), $(tr '\\0' '\\n' </proc/$holder/cmdline | head -n 1)"
        systemctl --user start luod.service
        echo "again: $("$3" retrieve --take --session s --token 1 -- /bin/cat /proc/self/fd/3)"
        [ -e /proc/$holder ] || echo "the holder has ended"
        systemctl --user stop luod.socket luod.service
        """

    /// The arguments of the scripts are both units, luoctl, systemd, and a drop-in. Each script runs its own user
    /// manager, in namespaces that end with it.
    private static let manager = """
        set -e
        mount --make-rprivate /
        mount -t tmpfs tmpfs /run
        mkdir -p /run/systemd/system /run/user/0/systemd/user
        umount -R /sys/fs/cgroup 2>/dev/null || true
        mount -t cgroup2 none /sys/fs/cgroup
        group=/sys/fs/cgroup/luod-test-$(cat /proc/sys/kernel/random/uuid)
        mkdir $group
        echo $$ >$group/cgroup.procs
        export XDG_RUNTIME_DIR=/run/user/0 LUO_STATE=/run/user/0/luo
        unset DBUS_SESSION_BUS_ADDRESS NOTIFY_SOCKET LISTEN_FDS LISTEN_PID
        printf '%s' "$1" >/run/user/0/systemd/user/luod.service
        printf '%s' "$2" >/run/user/0/systemd/user/luod.socket
        "$4" --user --unit=default.target --log-target=console --log-level=err </dev/null >/run/log 2>&1 &
        manager=$!
        end() {
            kill $manager && wait $manager || true
            echo $$ >/sys/fs/cgroup/cgroup.procs
            find $group -depth -type d -exec rmdir {} \\;
        }
        trap end EXIT
        try() { for attempt in $(seq 300); do "$@" && return; sleep 0.2; done; cat /run/log; return 1; }
        is_running() { [ "$(systemctl --user is-system-running 2>&1)" = running ]; }
        show() { systemctl --user show luod.service --value -p "$1"; }
        try is_running
        systemctl --user start luod.socket

        """

    private static let restarts = """

        "$3" session create s
        printf content >/run/content
        exec 3</run/content
        "$3" preserve --session s --token 1 --fd 3 --held
        exec 3<&-
        # Everything is stored then.
        systemctl --user restart luod.service
        # More often than systemd's own limit of starts, which would give up luod and all that it has stored.
        for death in 1 2 3 4 5 6 7; do
            kill -9 $(cat "/sys/fs/cgroup$(show ControlGroup)/cgroup.procs")
            try "$3" status >/dev/null 2>&1
        done
        "$3" run --state $LUO_STATE -- /bin/true
        "$3" update >/dev/null
        systemctl --user restart luod.service
        echo "killed: $("$3" retrieve --session s --token 1 -- /bin/cat /proc/self/fd/3)"
        systemctl --user restart luod.service
        echo "restarted: $("$3" retrieve --session s --token 1 -- /bin/cat /proc/self/fd/3)"
        echo "mode: $(stat -c %a $LUO_STATE/liveupdate)"
        systemctl --user stop luod.service
        systemctl --user reset-failed luod.service 2>/dev/null || true
        printf '\\007' | dd of=$LUO_STATE/arena bs=1 seek=8 conv=notrunc 2>/dev/null
        systemctl --user start luod.service 2>/dev/null && echo "it started"
        sleep 1
        echo "damaged: $(show Result) $(show ExecMainStatus), $(show NRestarts) restarts"
        systemctl --user stop luod.socket luod.service
        systemctl --user reset-failed luod.service
        show ActiveState
        """
}

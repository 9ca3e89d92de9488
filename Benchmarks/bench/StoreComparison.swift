// SPDX-License-Identifier: Apache-2.0
import Glibc
import LiveUpdatePlatform
import SystemPackage

/// The comparison with systemd's descriptor store: a service gives its descriptors to systemd, is restarted, and gets
/// them back.
///
/// It runs in a user manager of its own, in namespaces that end with it. It does not touch the machine's own systemd,
/// which need not run.
struct StoreComparison {
    private let run: BenchRun

    init(_ run: BenchRun) { self.run = run }

    func measure(_ count: UInt64) throws {
        guard let systemd = Self.systemd, let unshare = BenchTool.path("unshare") else {
            return miss("there is no systemd, or no unshare(1)", "install the packages systemd and util-linux")
        }
        guard geteuid() == 0 else { return miss("only root can run one in namespaces of its own", "run it as root") }
        let image = run.programs.image(.service, [])
        let manager = try BenchTool.shell(
            "exec \"$1\" -m -p -f --kill-child --mount-proc /bin/sh -c \"$2\" luoctl-bench \"$3\" \"$4\" \"$5\" 2>&1",
            [unshare, Self.script, systemd, image.path.string, "\(count)"])
        defer { manager.finish() }
        let answer = manager.readLine() ?? ""
        guard answer == "running" else {
            manager.kill()
            return miss("a user manager does not run here: \(answer)", "look at what \(systemd) --user says")
        }
        try BenchMemory.withFiles(count, of: PageSize.base.bytes, .base) { files in
            let updates = try UpdateRounds(run, files, .base)
            let floor = try FloorProcess(
                .send, ["\(updates.first)", "\(count)"], inherited: updates.inherited, in: run.programs)
            var theirs: [Double] = []
            var sending: [Double] = []
            for _ in 0..<run.rounds(quick: 3, full: 15) {
                try updates.measure(rounds: 1)
                sending.append(try floor.round()[0])
                // The service records the duration of storing, the time of the SIGTERM, and the time of the last word.
                try manager.write(line: "")
                let times = try manager.times(of: .service, count: 3)
                theirs.append(times[0] + times[2] - times[1])
            }
            let parameters = ["descriptors": count]
            run.addOurs(updates.ours, parameters, floor: sending, "C: the descriptors over a socket, and an answer")
            run.addOther(
                "systemd store", parameters, theirs,
                note:
                    "storing, and from the old process's SIGTERM until the new one has read a word of every file; systemd "
                    + "also supervises the service, and starts it in its cgroup with its settings")
        }
    }

    private func miss(_ reason: String, _ remedy: String) {
        run.miss(.compare, "systemd store", reason, remedy: remedy)
    }

    private static var systemd: String? {
        ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"].first { unsafe access($0, X_OK) == 0 }
    }

    /// The script that runs systemd. Its arguments are systemd, the service's program, and the number of descriptors.
    ///
    /// It prints `running`. Then, for each line that it reads, it starts the service, restarts it and stops it, and
    /// prints the times that the service recorded.
    private static let script = """
        set -e
        mount --make-rprivate /
        mount -t tmpfs tmpfs /run
        mkdir -p /run/systemd/system /run/user/0/systemd/user
        umount -R /sys/fs/cgroup 2>/dev/null || true
        mount -t cgroup2 none /sys/fs/cgroup
        group=/sys/fs/cgroup/luoctl-bench-$(cat /proc/sys/kernel/random/uuid)
        mkdir $group
        echo $$ >$group/cgroup.procs
        export XDG_RUNTIME_DIR=/run/user/0
        unset DBUS_SESSION_BUS_ADDRESS NOTIFY_SOCKET LISTEN_FDS LISTEN_PID
        cat >/run/user/0/systemd/user/bench.service <<END
        [Service]
        Type=notify
        FileDescriptorStoreMax=$3
        LimitNOFILE=65536
        ExecStart=$2 store $3 /run/result
        END
        "$1" --user --unit=default.target --log-target=console --log-level=err </dev/null >/run/log 2>&1 &
        manager=$!
        end() {
            kill $manager && wait $manager || true
            echo $$ >/sys/fs/cgroup/cgroup.procs
            find $group -depth -type d -exec rmdir {} \\;
        }
        trap end EXIT
        for try in $(seq 40); do
            state=$(systemctl --user is-system-running 2>&1) || true
            [ "$state" != running ] || break
            sleep 0.3
        done
        [ "$state" = running ] || { echo "$state" $(head -n 2 /run/log); exit 1; }
        echo running
        while read line; do
            systemctl --user start bench.service
            systemctl --user restart bench.service
            systemctl --user stop bench.service
            cat /run/result
            rm /run/result
        done
        """
}

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The test of make kexec-debian in the guest, a Debian with systemd, which runs in each of its two kernels: luod is a
# service with its state on DAX, and has a client that is a service, too. `luoctl kexec` replaces the kernel through
# `systemctl kexec`. A kernel with a Live Update Orchestrator also carries a memory file.
. /usr/local/bin/functions.sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
dax=/mnt/dax
kept=/var/lib/debian-test
stage=1
# luoctl finds luod without it, and the place of luod's state only with it.
kexec() { LUO_STATE=$dax/luo luoctl kexec "$@"; }

# --- The client: a service that counts in a file on DAX. It goes on with the count of the file in its session.

write_count() { printf '%8d' "$count" | dd of=$dax/count conv=notrunc 2>/dev/null; }

# systemd stops the client before luod, so luod answers here.
end_client() {
    luoctl status >/dev/null && echo "luod answers" >$kept/end-of-client
    echo "$count" >$kept/last-count
    exit 0
}

client() {
    count=0
    if luoctl session list --json | grep -q '"incoming"'; then
        count=$(luoctl retrieve --session counter --token 1 -- sh -c 'head -c 8 <&3') || exit 1
        luoctl finish --session counter || exit 1
        echo "$count" >$kept/first-count
    else
        truncate -s 4096 $dax/count
        write_count
    fi
    luoctl session create counter || exit 1
    luoctl preserve --session counter --token 1 --path $dax/count || exit 1
    trap end_client TERM
    systemd-notify --ready
    while :; do
        count=$((count + 1))
        write_count
        sleep 0.2
    done
}

# --- The test

show_log() { journalctl -b --no-pager -u luod -u counter -u mnt-dax.mount; }

await_system() {
    systemctl is-system-running --wait >/tmp/state
    [ "$(cat /tmp/state)" = running ] && return
    systemctl --failed --no-legend
    fail "the system is $(cat /tmp/state)"
}

# These files are those of docs/kernel-update.md.
write_units() {
    has_luo || printf '%s\n' nd_pmem nd_e820 >/etc/modules-load.d/luo-dax.conf
    if has_luo; then
        install -D /usr/local/share/doc/liveupdate/examples/kexec.conf /etc/systemd/system/luod.service.d/kexec.conf
    fi
    cat >/etc/systemd/system/mnt-dax.mount <<'END'
[Mount]
What=/dev/disk/by-label/luo-dax
Where=/mnt/dax
Type=ext4
Options=dax
END
    mkdir -p /etc/systemd/system/luod.service.d
    cat >/etc/systemd/system/luod.service.d/dax.conf <<'END'
[Unit]
RequiresMountsFor=/mnt/dax
AssertPathIsMountPoint=/mnt/dax

[Service]
ExecStart=
ExecStart=/usr/local/sbin/luod --state /mnt/dax/luo
END
    cat >/etc/systemd/system/counter.service <<'END'
[Unit]
Requires=luod.service
After=luod.service

[Service]
Type=notify
NotifyAccess=all
ExecStart=/bin/sh /usr/local/bin/debian.sh client

[Install]
WantedBy=multi-user.target
END
}

# This kernel also has the drivers of the region built in.
has_luo() { [ -c /dev/liveupdate ]; }

make_region() {
    has_luo || modprobe -a nd_pmem nd_e820 || fail "the drivers"
    await "the disk of the region" test -b /dev/pmem0
    expect "a file system" mkfs.ext4 -q -b 4096 -L luo-dax /dev/pmem0
    await "the name of the file system" test -e /dev/disk/by-label/luo-dax
}

install_services() {
    make_region
    write_units
    expect "the group" systemd-sysusers
    expect "the units" systemctl daemon-reload
    expect "luod's units" systemctl enable --now luod.socket luod.service
    expect "the client's unit" systemctl enable --now counter.service
    expect_is "the group of the clients' socket" luo "$(stat -c %G /run/luo/liveupdate)"
    expect_is "the mount of the state" $dax "$(findmnt -n -o TARGET -T $dax/luo)"
}

make_session() {
    head -c 8388608 /dev/urandom >$dax/guest
    echo "the state of the devices" >$dax/devices
    sha256sum <$dax/guest | cut -c 1-64 >$kept/sum
    expect "a session" luoctl session create vm
    expect "the guest's file" luoctl preserve --session vm --token 1 --path $dax/guest
    expect "the state's file" luoctl preserve --session vm --token 18446744073709551615 --path $dax/devices
    if has_luo; then make_memory; fi
}

make_memory() {
    head -c 1048576 /dev/urandom >/dev/shm/memory
    sha256sum </dev/shm/memory | cut -c 1-64 >$kept/memory.sum
    exec 3<>/dev/shm/memory
    rm /dev/shm/memory
    expect "a memory file" luoctl preserve --session vm --token 7 --fd 3
    exec 3>&-
}

# A kernel update that cannot be done changes nothing: neither systemd nor luod has begun with it.
refuse_bad_image() {
    luoctl status --json >/tmp/before
    head -c 65536 /boot/vmlinuz >/tmp/bad
    expect_exit "a bad image" 1 'incomplete' kexec --kernel /tmp/bad --reuse-cmdline
    expect_exit "a kernel that would overwrite the region" 1 'memmap=256M!1G' kexec --cmdline console=ttyS0
    expect_is "the loaded kernel" 0 "$(cat /sys/kernel/kexec_loaded)"
    expect_is "orders of systemd" "" "$(systemctl list-jobs --no-legend | grep -v vmtest)"
    for unit in luod.socket luod.service counter.service mnt-dax.mount; do
        expect "$unit goes on" systemctl is-active $unit
    done
    expect_is "the process of luod" "$luod_before" "$(systemctl show -P MainPID luod)"
    expect "the sessions" luoctl session list
    expect_text "the sessions" vm counter
}

first_kernel() {
    mkdir -p $kept
    await_system
    install_services
    make_session
    luod_before=$(systemctl show -P MainPID luod)
    refuse_bad_image
    cat /proc/sys/kernel/random/boot_id >$kept/boot
    expect "what a kexec would do" kexec --dry-run
    cat /tmp/output
    echo "kernel 1: $(uname -r), boot $(boot), ends"
    kexec >/tmp/output 2>&1 || { cat /tmp/output && fail "the kernel was not replaced"; }
    # systemd ends this service.
    while :; do sleep 60; done
}

second_kernel() {
    await_system
    [ "$(cat $kept/boot)" != "$(cat /proc/sys/kernel/random/boot_id)" ] || fail "the kernel is the same"
    echo "kernel 2: $(uname -r), boot $(boot), systemd is up"
    expect "the sessions" luoctl session list
    cat /tmp/output
    expect_is "the guest's file" "$(cat $kept/sum)" "$(sum vm 1)"
    expect "the state's file" luoctl retrieve --session vm --token 18446744073709551615 -- sh -c 'cat <&3'
    expect_text "the state's file" "the state of the devices"
    files=3
    if has_luo; then
        files=4
        expect_is "the memory file" "$(cat $kept/memory.sum)" "$(sum vm 7)"
    fi
    check_client
    check_report
    expect "the finish" luoctl finish --session vm
    expect "the sessions" luoctl session list
    if grep -q '^vm ' /tmp/output; then cat /tmp/output && fail "the session is there after the finish"; fi
    check_journal
    echo "kernel 2: sessions and files are whole, and finished"
}

# The client was stopped before luod was, and goes on where it was.
check_client() {
    expect_is "the end of the client" "luod answers" "$(cat $kept/end-of-client)"
    expect_is "the count in the file" "$(cat $kept/last-count)" "$(($(cat $kept/first-count)))"
    expect "the client" systemctl is-active counter
    echo "the client counted to $(cat $kept/last-count) before, and goes on from there"
}

# systemd stops luod later, so that the time of its freeze is not known.
check_report() {
    expect "the report" kexec --report
    cat /tmp/output
    expect_text "the report" "from:   $(uname -r)" "to:     $(uname -r)" "end of the old kernel" "boot  " blackout dax-file-v1
    expect "the report for machines" kexec --report --json
    expect_text "the report for machines" '"outcome" : "replaced"' '"boot_ns" : ' '"answered" : '
}

check_journal() {
    expect "luod's journal" journalctl -b --no-pager -o cat -u luod
    cat /tmp/output
    expect_text "luod's journal" "the next boot: files held: $files, lost: 0"
}

if [ "${1:-}" = client ]; then client; fi
if [ -d $kept ]; then stage=2 && second_kernel; else first_kernel; fi

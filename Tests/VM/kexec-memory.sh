#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The test of make kexec-luo in the guest, which runs in each of its kernels: luod holds memory files, and the kernel's
# orchestrator carries them and luod's own state to the next kernel. A memory file counts the kernels.
export LUO_STATE=/run/luo
kernels=$1
log=/tmp/log
. /bin/functions.sh

# A line of the description of a descriptor.
info() { luoctl retrieve --session vm --token "$1" -- sh -c "sed -n 's/^$2:[[:space:]]*//p' /proc/self/fdinfo/3"; }

# Makes the session for the next kernel, whose number is $1.
fill() {
    cd /dev/shm || exit 1
    dd if=/dev/urandom of=guest bs=1M count=8 2>/dev/null
    truncate -s 12M guest
    echo "a constant" >constant
    sha256sum <guest | cut -c 1-64 >sums
    sha256sum <constant | cut -c 1-64 >>sums
    echo "$1" >stage
    exec 3<>guest 4<constant 5<sums 6<stage
    rm guest constant sums stage
    head -c 5 <&4 >/dev/null
    dd bs=1 count=5 <&4 of=/dev/null 2>/dev/null
    position=$(sed -n 's/^pos:[[:space:]]*//p' /proc/self/fdinfo/4)
    expect "a session" luoctl session create vm
    expect "the guest's file" luoctl preserve --session vm --token 1 --fd 3
    expect "the constant" luoctl preserve --session vm --token 2 --fd 4
    expect "the sums" luoctl preserve --session vm --token 3 --fd 5
    expect "the number of the next kernel" luoctl preserve --session vm --token 4 --fd 6
    expect "a session of another user" su nobody -s /bin/sh -c 'luoctl session create theirs'
    exec 3>&- 4>&- 5>&- 6>&-
}

check() {
    retrieved="$(luoctl retrieve --session vm --token 3 -- sh -c 'cat /proc/self/fd/3')"
    expect_is "the guest's file" "$(echo "$retrieved" | sed -n 1p)" "$(sum vm 1)"
    expect_is "the constant" "$(echo "$retrieved" | sed -n 2p)" "$(sum vm 2)"
    # O_RDONLY and O_RDWR, beside O_LARGEFILE.
    expect_is "the access mode of the constant" 0 "$(info 2 flags | tail -c 2)"
    expect_is "the access mode of the guest's file" 2 "$(info 1 flags | tail -c 2)"
    expect_is "the offset of the guest's file" 0 "$(info 1 pos)"
    expect "the finish" luoctl finish --session vm
    expect "the finish of the other user" su nobody -s /bin/sh -c 'luoctl finish --session theirs'
}

# The next kernel and its RAM disk are memory files, too.
keep_boot_files() {
    cp -L /boot/vmlinuz /boot/initrd.img /dev/shm
    expect "a session" luoctl session create boot
    for file in vmlinuz initrd.img; do
        token=$((${token:-0} + 1))
        exec 3</dev/shm/$file
        rm /dev/shm/$file
        expect "$file" luoctl preserve --session boot --token $token --fd 3
        exec 3<&-
    done
    unset token
}

get_boot_files() {
    mkdir -p /boot
    luoctl retrieve --session boot --token 1 --token 2 -- sh -c 'cat <&3 >/boot/vmlinuz && cat <&4 >/boot/initrd.img' || fail "the next kernel"
    expect "the finish of the next kernel" luoctl finish --session boot
}

# Runs a program in the control group of luod's unit, in which luoctl looks for it.
in_unit() { exec sh -c 'echo $$ >/sys/fs/cgroup/luod.service/cgroup.procs; exec "$@"' sh "$@"; }

# From here on systemd seems to run: a program systemctl that accepts everything.
play_systemd() {
    mkdir -p /run/systemd/system
    printf '#!/bin/sh\ncase "$*" in *show*) printf "KillMode=process\\nExitType=main\\n" ;; esac\n' >/bin/systemctl
    chmod 755 /bin/systemctl
}

# Asks for the kernel update, which begins when luod is ended, and ends luod as systemd does.
stop_luod_for_kexec() {
    expect "the order to systemd" luoctl kexec $kexec
    kill -TERM $luod
    wait $luod
    holder=$(cut -d ' ' -f 2 $LUO_STATE/holder)
    # systemd-shutdown spares such a process.
    expect_is "the name of the holder" @luod "$(tr '\0' '\n' </proc/$holder/cmdline | head -n 1)"
    kill -TERM $holder
    grep -q 'SigIgn:.*[4-7c-f][0-9a-f]\{3\}$' /proc/$holder/status || fail "the holder does not ignore SIGTERM"
}

mount -t cgroup2 none /sys/fs/cgroup 2>/dev/null
mkdir -p /sys/fs/cgroup/luod.service
kexec="--reuse-cmdline --kernel /boot/vmlinuz --running-kernel /boot/vmlinuz --initrd /boot/initrd.img"
stage=1
# There is no room for the arena, so luod waits. It is killed then, and leaves everything to the next luod.
mkdir -p -m 711 $LUO_STATE
mount -t tmpfs -o size=8k,mode=711 tmpfs $LUO_STATE
luod >/tmp/luod 2>>/tmp/log &
for _ in $(seq 600); do
    if grep -q "cannot be written" /tmp/log || ! kill -0 $! 2>/dev/null; then break; fi
    sleep 0.1
done
kill -9 $! 2>/dev/null
wait $!
[ ! -e $LUO_STATE/holder ] || arrival="the holder of the arrival"
mount -o remount,size=64m $LUO_STATE
start_luod in_unit
if luoctl session list | grep -q '^vm '; then
    stage=$(luoctl retrieve --session vm --token 4 -- sh -c 'cat /proc/self/fd/3')
    expect_is "the holder" "the holder of the arrival" "$arrival"
    [ ! -e $LUO_STATE/holder ] || fail "the holder of the arrival was not ended"
    check
    get_boot_files
    echo "kernel $stage: all files are whole, and finished"
fi
if [ "$stage" = "$kernels" ]; then exit 0; fi
fill $((stage + 1))
keep_boot_files
echo "kernel $stage: $(uname -r), boot $(boot), ends"
if [ $((stage % 2)) = 0 ]; then
    play_systemd
    echo "a probe" >/dev/shm/probe
    exec 3</dev/shm/probe
    rm /dev/shm/probe
    expect "a session" luoctl session create probe
    expect "a file" luoctl preserve --session probe --token 1 --fd 3
    exec 3<&-
    stop_luod_for_kexec
    # The kernel is not replaced after all.
    start_luod in_unit
    expect_is "a file after the failure" "a probe" "$(luoctl retrieve --take --session probe --token 1 -- sh -c 'cat /proc/self/fd/3')"
    expect "the end of the probe" luoctl session rm probe
    if luoctl status | grep lost; then fail "files are lost"; fi
    [ ! -e /proc/$holder ] || fail "the holder was not ended"
    stop_luod_for_kexec
    rm -r /run/systemd
    kexec="$kexec --without-luod"
fi
luoctl kexec $kexec >/tmp/output
cat /tmp/output
fail "the kernel was not replaced"

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The test of make kexec-guest in the guest, which runs in each of its two kernels. QEMU runs a guest of its own (ticks.S),
# whose memory is a file on DAX, and which counts. QEMU saves the state of the devices in a file beside the memory. luod
# has both files in a session, `luoctl kexec` replaces the kernel, and another QEMU goes on with the guest.
dax=/mnt/dax
export LUO_STATE=$dax/luo
export QEMU_MODULE_DIR=/qemu
log=$dax/log
stage=1
. /bin/functions.sh

# QEMU on the memory of a file, with its monitor on the descriptor 5.
start_qemu() { # MEMORY [OPTION...]
    memory=$1
    shift
    qemu-system-x86_64 -L /qemu -nodefaults -no-user-config -display none -accel tcg -m 64M \
        -machine pc,memory-backend=ram -object "memory-backend-file,id=ram,size=64M,share=on,mem-path=$memory" \
        -bios /qemu/ticks.rom -serial file:/tmp/ticks -monitor stdio "$@" </tmp/monitor >/tmp/qemu 2>&1 &
    qemu=$!
    # The memory is shared and has a file, so that only the state of the devices is saved.
    order "migrate_set_capability x-ignore-shared on"
}

order() { echo "$1" >&5; }

ticks() { wc -l 2>/dev/null </tmp/ticks || echo 0; }
has_ticks() { [ "$(ticks)" -ge "$1" ]; }

# The guest has counted in steps of one, and its memory and its register agree.
check_ticks() { # FIRST
    next=$1
    while read -r in_memory in_register; do
        expect_is "the count in the register" "$in_memory" "$in_register"
        expect_is "the count in the memory" "$next" "$((0x$in_memory))"
        next=$((next + 1))
    done </tmp/ticks
}

end_qemu() {
    order quit
    wait $qemu || { cat /tmp/qemu && fail "QEMU ended with $?"; }
}

first_kernel() {
    expect "a file system" mkfs.ext4 -q -b 4096 /dev/pmem0
    expect "the mount" mount -o dax /dev/pmem0 $dax
    start_luod
    expect "the guest's memory" fallocate -l 67108864 $dax/memory
    expect "a session" luoctl session create vm
    expect "the guest's memory in it" luoctl preserve --session vm --token 1 --path $dax/memory
    start_qemu $dax/memory
    await "the fifth tick" has_ticks 5
    order stop
    order "migrate \"exec:cat >$dax/devices\""
    end_qemu
    expect "the state of the devices" luoctl preserve --session vm --token 2 --path $dax/devices
    check_ticks 1
    cp -L /boot/vmlinuz /boot/initrd.img $dax
    ticks >$dax/ticks
    echo "kernel 1: $(uname -r), boot $(boot), the guest has counted to $(ticks), and the kernel ends"
    sync
    luoctl kexec --kernel $dax/vmlinuz --initrd $dax/initrd.img --reuse-cmdline >/tmp/output 2>&1
    cat /tmp/output
    fail "the kernel was not replaced"
}

is_loaded() {
    order "info status"
    tr -d '\r' </tmp/qemu | grep -q 'VM status: paused$'
}

second_kernel() {
    start_luod
    echo "kernel 2: $(uname -r), boot $(boot), luod is up"
    expect "the report" luoctl kexec --report
    cat /tmp/output
    # This process becomes the program that gets both files, as its descriptors 3 and 4.
    exec luoctl retrieve --session vm --token 1 --token 2 -- sh /bin/ticks.sh retrieved
}

go_on() {
    start_qemu /proc/self/fd/3 -incoming defer
    order "migrate_incoming fd:4"
    await "the guest" is_loaded
    order cont
    await "the fifth tick" has_ticks 5
    end_qemu
    before=$(cat $dax/ticks)
    check_ticks $((before + 1))
    expect "the finish" luoctl finish --session vm
    expect "the end of luod" luoctl stop
    echo "kernel 2: the guest went on from $before, and has counted to $((before + $(ticks)))"
    exit
}

mkfifo /tmp/monitor 2>/dev/null
exec 5<>/tmp/monitor
stage=2
if [ "${1:-}" = retrieved ]; then go_on; fi
mkdir -p $dax
await "the disk" test -b /dev/pmem0
if mount -o dax /dev/pmem0 $dax 2>/dev/null; then second_kernel; fi
stage=1
first_kernel

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The test of make kexec in the guest, which runs in each of its three kernels: luod holds files on persistent memory,
# and luoctl kexec replaces the kernel under them. The file system on the persistent memory has the number of the kernel.
pmem=/mnt/pmem
log=$pmem/log
. /bin/functions.sh
export LUO_STATE=$pmem/luo

# ext4 is on the region of 256 MiB, xfs on that of 320 MiB, and the devdax device on that of 128 MiB. The next kernel may
# number the regions in another way.
pmem_device() { # SIZE IN BYTES
    for size in /sys/bus/nd/devices/region*/size; do
        [ "$(cat "$size")" = "$1" ] || continue
        echo "/dev/$(ls "${size%/size}"/namespace*/block 2>/dev/null)"
        return
    done
}

# The contents of all files, by name.
sums() { (cd $pmem/files && for file in "$@"; do sha256sum <"$file"; done); }

# The file of a session has the checksum in a line of $pmem/sums.
expect_sum() { # LINE SESSION TOKEN [OPTION...]
    line=$1
    shift
    expect_is "the file $2 of $1" "$(sed -n "${line}p" $pmem/sums | cut -c 1-64)" "$(sum "$@")"
}

first_kernel() {
    expect "a file system" mkfs.ext4 -q -b 4096 "$(pmem_device 268435456)"
    expect "the mount" mount -o dax "$(pmem_device 268435456)" $pmem
    region=$(grep -l '^134217728$' /sys/bus/nd/devices/region*/size)
    region=${region%/size}
    expect "a devdax device" ndctl create-namespace -f -e "namespace${region##*region}.0" -m devdax -a 2M
    dax=/dev/$(ls /sys/bus/dax/devices)

    expect "another file system" mkfs.xfs -q "$(pmem_device 335544320)"
    expect "its mount" mount -o dax "$(pmem_device 335544320)" /mnt/xfs

    start_luod
    refused "a report without a kernel update" luoctl kexec --report
    expect_text "the refusal" "no kernel update is on record"
    mkdir $pmem/files
    dd if=/dev/urandom of=/mnt/xfs/weights bs=1M count=8 2>/dev/null
    dd if=/dev/urandom of=$pmem/files/guest bs=1M count=16 2>/dev/null
    dd if=/dev/urandom of=$pmem/files/old-name bs=1M count=4 2>/dev/null
    dd if=/dev/urandom of=$pmem/files/cache bs=1M count=2 2>/dev/null
    chown nobody $pmem/files/cache
    chmod 600 $pmem/files/cache
    expect "a session" luoctl session create vm
    expect "the guest's file" luoctl preserve --session vm --token 1 --path $pmem/files/guest
    expect "the file that is renamed" luoctl preserve --session vm --token 2 --path $pmem/files/old-name
    expect "the devdax device" luoctl preserve --session vm --token 3 --path "$dax"
    expect "the file on xfs" luoctl preserve --session vm --token 4 --path /mnt/xfs/weights
    expect "a session of another user" su nobody -s /bin/sh -c "luoctl session create cache"
    expect "the file of another user" su nobody -s /bin/sh -c \
        "luoctl preserve --session cache --token 9 --path $pmem/files/cache"
    mv $pmem/files/old-name $pmem/files/new-name
    sums guest new-name cache /mnt/xfs/weights >$pmem/sums

    # A memory file, and one on huge pages, stay behind.
    expect "a memory file" sh -c 'exec 3<>/dev/shm/memory && rm /dev/shm/memory && echo data >&3 &&
        luoctl session create memory && luoctl preserve --session memory --token 5 --fd 3'
    refused "a kernel update with a memory file" luoctl kexec
    expect_text "the refusal" 'session "memory", token 5' --leave-behind
    refused "a next kernel without the persistent memory" luoctl kexec --leave-behind --cmdline "console=ttyS0"
    expect_text "the refusal" 'memmap='
    dd if=/boot/vmlinuz of=/tmp/bad bs=64k count=1 2>/dev/null
    refused "a bad image" luoctl kexec --leave-behind --reuse-cmdline --kernel /tmp/bad
    expect "luod goes on" luoctl status
    expect_text "luod goes on" vm cache memory

    cp -L /boot/vmlinuz /boot/initrd.img $pmem
    echo 2 >$pmem/stage
    next_kernel --leave-behind
}

# The report of the last kernel update is complete. The clock of this machine knows only whole seconds, so that the end of
# the old kernel can be unknown.
expect_report() {
    expect "the report" luoctl kexec --report
    expect_text "the report" "from:   $(uname -r)" "to:     $(uname -r)" "freeze and publish" "end of the old kernel" \
        "boot  " blackout dax-file-v1
    cat /tmp/output
    expect "the report for machines" luoctl kexec --report --json
    expect_text "the report for machines" '"outcome" : "replaced"' '"freeze_ns" : ' '"boot_ns" : ' '"kernel_began" : ' \
        '"answered" : '
    expect "the parts of the blackout" luoctl bench kexec
    [ "$(stat -c %a $LUO_STATE/last-kernel-update)" = 600 ] || fail "others can read the record"
}

next_kernel() {
    expect "what a kexec would do" luoctl kexec --kernel $pmem/vmlinuz --initrd $pmem/initrd.img --reuse-cmdline "$@" --dry-run
    sed -n '/^session/,$p' /tmp/output
    echo "kernel $stage: $(uname -r), boot $(boot), ends"
    # The output has reached the host before the kernel ends.
    sleep 1
    luoctl kexec --kernel $pmem/vmlinuz --initrd $pmem/initrd.img --reuse-cmdline "$@" >/tmp/output 2>&1
    cat /tmp/output
    fail "the kernel was not replaced"
}

second_kernel() {
    start_luod
    # The memory file that stayed behind is lost.
    expect_exit "the sessions" 1 '^degraded: 1 file lost: .*session "memory", token 5' luoctl status
    expect_text "the sessions" vm cache memory "kernel update: from $(uname -r)"
    expect_report
    expect_sum 1 vm 1
    expect_sum 2 vm 2
    expect_sum 3 cache 9 --user nobody
    expect_sum 4 vm 4
    expect_exit "the shared state" 1 '"is_healthy" : false' luoctl status --json
    expect_text "the shared state" dax-region-v1 '"count" : 5'
    expect "the devdax device" luoctl retrieve --session vm --token 3 -- readlink /proc/self/fd/3
    expect_text "the devdax device" /dev/dax
    refused "a memory file that stayed behind" luoctl retrieve --session memory --token 5 -- cat
    expect_text "the reason" "ends with the kernel"
    for session in vm memory; do expect "the finish of $session" luoctl finish --session $session; done
    expect "the finish of cache" su nobody -s /bin/sh -c "luoctl finish --session cache"
    expect "nothing is held any more" luoctl status --json
    echo "kernel 2: all files are whole, and finished"

    expect "a session" luoctl session create again
    expect "a file" luoctl preserve --session again --token 1 --path $pmem/files/guest
    echo 3 >$pmem/stage
    next_kernel
}

third_kernel() {
    start_luod
    expect_report
    expect_sum 1 again 1
    expect "the finish" luoctl finish --session again
    expect "the end of luod" luoctl stop
    echo "kernel 3: the file is whole after two replacements of the kernel"
    exit 0
}

mkdir -p $pmem /mnt/xfs
stage=1
# The nodes of the disks come a moment after their drivers.
await "the first disk" eval '[ -b "$(pmem_device 268435456)" ]'
await "the second disk" eval '[ -b "$(pmem_device 335544320)" ]'
if mount -o dax "$(pmem_device 268435456)" $pmem 2>/dev/null; then
    mount -o dax "$(pmem_device 335544320)" /mnt/xfs
    stage=$(cat $pmem/stage)
fi
case $stage in
1) first_kernel ;;
2) second_kernel ;;
3) third_kernel ;;
esac

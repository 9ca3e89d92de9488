#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The test of make vmtest in the guest: the demo in several ways, programs under luoctl run, and the vectors. The
# pools have 64 pages of 2 MiB and one of 1 GiB at the start. With the argument "luo" the kernel has a Live Update
# Orchestrator of its own, and its device is tested, too.
pool=/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages
passed=0 failed=0
results=''

check() { # NAME COMMAND...
    name=$1
    shift
    echo "== $name: $*"
    if "$@" 2>&1; then verdict=passed passed=$((passed + 1)); else verdict="FAILED ($?)" failed=$((failed + 1)); fi
    results="$results
  $verdict  $name"
}

# A demo that had to leave something out says so, and succeeds: here it must not.
whole_demo() { # ARGUMENT...
    luoctl demo "$@" >/tmp/report || return
    cat /tmp/report
    ! grep -q '^left out' /tmp/report
}

empty_pool() { echo 0 >$pool && [ "$(cat $pool)" = 0 ]; }

reserving_demo() {
    empty_pool && whole_demo --files 4 --size 8M || return
    [ "$(cat $pool)" = 0 ] || { echo "the pool has $(cat $pool) pages, and had 0" && return 1; }
}

# The lock of root must not become the user's: then root could not take it.
ordinary_user() {
    rm -f /run/lock/liveupdate-*
    su nobody -c "luoctl demo --files 2 --size 8M" && whole_demo --files 2 --size 8M
}

demo_without_pages() {
    empty_pool && luoctl demo --files 4 --size 8M --no-reserve | tee /tmp/report && grep -q '^left out: 2' /tmp/report
}

own_mount() {
    umount /dev/hugepages && whole_demo --files 4 --size 8M --hugetlbfs --no-reserve || return
    ! grep hugetlbfs /proc/mounts
}

sabotaged_demos() {
    for thing in content size pool; do
        luoctl demo --files 4 --size 8M --sabotage $thing >/tmp/report
        status=$?
        grep '^FAULT' /tmp/report
        [ $status = 1 ] || { echo "$thing: exit $status, and not 1" && return 1; }
    done
}

# Files with a name are there after the death of their only process.
killed_demo() {
    luoctl demo --files 4 --size 8M --hugetlbfs --kill-after 30
    [ $? = 137 ] || { echo "it was not killed" && return 1; }
    whole_demo --files 4 --size 8M && grep 'killed in update 1.* 2 are whole' /tmp/report
}

# A program in C that was written for the kernel's device, before an update of its luod and after it.
program_under_run() {
    luoctl run -- sh -c 'calls() { echo | luo-bench-caller calls; }; calls && luoctl update && calls && luoctl status'
}

# Changes of a node, also on a kernel without NUMA, where the machine is node 0; and files of both kinds.
pools_and_check() {
    luoctl hugepages reserve --size 2M --count 3 --node 0 >/tmp/report && grep -q 'reserved 3 pages' /tmp/report &&
        luoctl hugepages | tee /tmp/report && grep -qE '^ *2M +0 ' /tmp/report &&
        luoctl hugepages release --size 2M --count 3 --node 0 || return
    mkdir -p /tmp/huge && mount -t hugetlbfs -o pagesize=2M none /tmp/huge && : >/tmp/huge/file || return
    : >/dev/shm/file && exec 4<>/dev/shm/file 5<>/tmp/huge/file && rm /dev/shm/file /tmp/huge/file || return
    luoctl check fd:4 && luoctl check fd:5 | tee /tmp/report && grep -q huge-memfd /tmp/report || return
    exec 4<&- 5<&- && umount /tmp/huge
}

all_vectors() {
    luoctl replay /vectors/named.jsonl /vectors/random.jsonl | tee /tmp/report && grep -q '^417 passed, 0' /tmp/report
}

check "demo, huge pages of the kernel's command line" whole_demo --files 4 --size 16M --updates 2 --no-reserve
check "demo, 32 files over 3 updates" whole_demo --files 32 --size 2M --updates 3 --no-reserve
check "demo, a page of 1 GiB" whole_demo --files 1 --page-size 1G --no-reserve
check "demo, names on the mounted hugetlbfs" whole_demo --files 4 --size 8M --hugetlbfs --updates 2 --no-reserve
check "demo, names on a hugetlbfs of its own" own_mount
check "demo, killed, and found by the next" killed_demo
check "demo, sabotaged" sabotaged_demos
check "demo as an ordinary user" su nobody -c "luoctl demo --files 4 --size 8M --no-reserve"
check "demo, ordinary files only" demo_without_pages
check "demo, reserving its pages and giving them back" reserving_demo
check "demo as an ordinary user, then as root" ordinary_user
check "a program under luoctl run" program_under_run
check "a program under luoctl run, as an ordinary user" su nobody -c "luoctl run -- sh -c 'echo | luo-bench-caller calls'"
check "pools by node, and files that are checked" pools_and_check
check "conformance vectors" all_vectors

if [ "${1:-}" = luo ]; then
    check "the kernel's device, by a program in C" sh /bin/device.sh probe
    check "the kernel's device by the client library in C" sh /bin/device.sh library
    check "the kernel's device in luoctl status" sh /bin/device.sh status
    check "the kernel's device by luoctl --kernel-device" sh /bin/device.sh kernel_device
    check "luoctl run beside the kernel's device" sh /bin/device.sh run_beside
fi

echo "== in $(uname -sr), $(uname -v)$results"
echo "$passed passed, $failed failed"
[ $failed = 0 ]

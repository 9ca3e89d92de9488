#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# device.sh STEP: the part of make vmtest for a guest with a Live Update Orchestrator in its kernel. It tests the
# device of the kernel, without luod and beside it.

# COMMAND must end with the exit code, and its errors must have the text.
expect() { # CODE TEXT COMMAND...
    code=$1 text=$2
    shift 2
    "$@" 2>/tmp/errors
    status=$?
    cat /tmp/errors
    [ $status = "$code" ] && grep -q "$text" /tmp/errors && return
    echo "$*: exit $status and not $code, or no \"$text\""
    return 1
}

# The program in C that tests luoctl run, here without luoctl run: the kernel must give the same answers as luod.
probe() {
    for scenario in life order names answers opens threads many "kernel 7.2"; do
        RunProbe $scenario || { echo "in the scenario $scenario" && return 1; }
    done
}

# The tests of the client library in C, on the kernel's device.
library() { library-client kernel; }

status() {
    expect 69 'no luod runs' luoctl status >/tmp/report && cat /tmp/report && grep '^kernel: .*switched on' /tmp/report &&
        expect 69 'no luod runs' luoctl status --json >/tmp/report && grep '"is_on" : true' /tmp/report
}

kernel_device() {
    # The last command works because the session has ended with its holder.
    luoctl session create --kernel-device s -- sh /bin/device.sh in_session &&
        (exec 6<>/dev/liveupdate && expect 69 'open in another program' luoctl session list --kernel-device) &&
        expect 77 'only root' su nobody -c 'luoctl session create --kernel-device t -- true' &&
        luoctl session create --kernel-device s -- true
}

# The program that holds the session s, which is descriptor 3.
in_session() {
    session="--kernel-device --session s"
    : >/dev/shm/file && exec 9<>/dev/shm/file && rm /dev/shm/file && echo content >&9 || return
    mkdir -p /tmp/huge && mount -t hugetlbfs -o pagesize=2M none /tmp/huge && : >/tmp/huge/file || return
    exec 5<>/tmp/huge/file && rm /tmp/huge/file || return
    : >/tmp/named
    luoctl preserve $session --token 7 --fd 9 &&
        expect 1 'the token is in use' luoctl preserve $session --token 7 --fd 9 &&
        expect 1 'preserved already' luoctl preserve $session --token 8 --fd 9 &&
        expect 1 'cannot preserve this kind of file' luoctl preserve $session --token 8 --fd 5 &&
        expect 1 'cannot preserve this kind of file' luoctl preserve $session --token 8 --path /tmp/named &&
        expect 1 'the session is outgoing' luoctl retrieve $session --token 7 -- true &&
        expect 1 'the session is outgoing' luoctl finish $session &&
        expect 1 'has inherited no session' luoctl preserve --kernel-device --session other --token 7 --fd 9 &&
        expect 1 'a session of that name exists' luoctl session create --kernel-device s -- true &&
        expect 1 'handed over no session' luoctl session attach --kernel-device none -- true &&
        expect 69 'cannot list' luoctl session list --kernel-device &&
        expect 69 'cannot remove' luoctl session rm --kernel-device s || return
    # The kernel has fixed the size of a preserved file.
    ! truncate -s 1M /proc/self/fd/4
}

# The program finds the device of luod, which takes files on huge pages.
run_beside() {
    expect 0 'has /dev/liveupdate already' luoctl run -- RunProbe life &&
        [ "$(grep -c 'has /dev/liveupdate' /tmp/errors)" = 1 ] &&
        expect 0 'has /dev/liveupdate already' su nobody -c 'luoctl run -- RunProbe order'
}

"$1"

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The test of make kexec-kills in the guest: processes of luod are killed during a replacement of the kernel, one case in
# each kernel. Afterwards each file is there, or luod says that it is lost, and why. With `dax` all files are on DAX, and
# none may be lost; with `luo` one is a memory file, which the kernel's orchestrator carries.
carrier=$1
dax=/mnt/dax
export LUO_STATE=$dax/luo
log=$dax/log
stage=1
. /bin/functions.sh

# --- Processes

orchestrator() { luoctl status --json | sed -n 's/^ *"orchestrator" : \([0-9]*\),*$/\1/p'; }

# Ends a process, and waits until the kernel has closed its descriptors.
end() { # PID...
    for process in "$@"; do kill -9 "$process" 2>/dev/null; done
    for process in "$@"; do await "the end of process $process" is_ended "$process"; done
}

is_ended() { # PID: the process is gone, or is a zombie
    state=$(sed -n 's/^State:[[:space:]]*//p' "/proc/$1/status" 2>/dev/null)
    case $state in "" | Z*) return 0 ;; esac
    return 1
}

# Ends all processes of a program.
end_all() { # PROGRAM
    found=$(for process in /proc/[0-9]*/exe; do
        [ "$(readlink "$process")" != "/bin/$1" ] || echo "$process" | cut -d / -f 3
    done)
    [ -n "$found" ] || fail "there is no process of $1"
    # shellcheck disable=SC2086 # each process is a word
    end $found
}

# Runs a program that stops itself at one of its system calls, before or after the call is done.
until_call() { # CALL INJECTION COMMAND...
    call=$1 injection=$2
    shift 2
    rm -f /tmp/trace
    strace -f -o /tmp/trace -e "trace=$call" -e "inject=$call:signal=STOP$injection" -e signal=STOP "$@"
}

is_stopped() { grep -q 'stopped by SIGSTOP' /tmp/trace; }

# --- Sessions: three with a file on DAX each, of which the first one may have a memory file, too.

fill() {
    for session in one two three; do
        expect "a session" luoctl session create $session
        head -c 1048576 /dev/urandom >$dax/$session
        sha256sum <$dax/$session | cut -c 1-64 >$dax/$session.sum
        expect "a file on DAX" luoctl preserve --session $session --token 1 --path $dax/$session
    done
    [ "$carrier" = luo ] || return 0
    head -c 1048576 /dev/urandom >/dev/shm/memory
    sha256sum </dev/shm/memory | cut -c 1-64 >$dax/memory.sum
    exec 3<>/dev/shm/memory
    rm /dev/shm/memory
    expect "a memory file" luoctl preserve --session one --token 2 --fd 3
    exec 3>&-
}

# Sessions are incoming after an update, and outgoing when the boot went on.
how() { if luoctl session list --json | grep -q '"incoming"'; then echo incoming; else echo outgoing; fi; }

# Every session and its file on DAX are there. The memory file is there, or said to be lost.
check() { # WHAT MEMORY: there, lost or any
    what=$1 wanted=$2
    direction=$(how)
    taking=""
    [ "$direction" = incoming ] || taking=--take
    memory=none
    if [ "$carrier" = luo ]; then check_memory; fi
    for session in one two three; do
        # shellcheck disable=SC2086 # nothing, or one option
        expect_is "$what: the file of $session" "$(cat $dax/$session.sum)" "$(sum $session 1 $taking)"
    done
    echo "  passed  $what: sessions are $direction, files on DAX are whole, memory file: $memory"
    for session in one two three; do remove $session; done
}

check_memory() {
    # shellcheck disable=SC2086 # nothing, or one option
    found=$(sum one 2 $taking 2>/tmp/reason)
    if [ "$found" = "$(sha256sum </dev/null | cut -c 1-64)" ] || [ -z "$found" ]; then
        memory="lost: $(tail -n 1 /tmp/reason)"
        [ -s /tmp/reason ] || fail "$what: the memory file is lost, and nothing says so"
        [ "$wanted" != there ] || fail "$what: the memory file is $memory"
    else
        expect_is "$what: the memory file" "$(cat $dax/memory.sum)" "$found"
        [ "$wanted" != lost ] || fail "$what: the memory file is there: change the test"
        memory=there
    fi
}

remove() { # SESSION
    if [ "$direction" = incoming ]; then
        expect "the finish of $1" luoctl finish --session "$1"
    else
        expect "the end of $1" luoctl session rm --force "$1"
    fi
}

# --- Kernels

kexec() { luoctl kexec --kernel $dax/vmlinuz --initrd $dax/initrd.img --running-kernel $dax/vmlinuz --reuse-cmdline; }

# luod has published, and luoctl stops where it would start the next kernel.
prepare() {
    luod_pid=$luod
    orchestrator_pid=$(orchestrator)
    [ -n "$orchestrator_pid" ] || fail "the orchestrator is not in the status"
    until_call reboot :retval=0 luoctl kexec --kernel $dax/vmlinuz --initrd $dax/initrd.img \
        --running-kernel $dax/vmlinuz --reuse-cmdline >/tmp/kexec 2>&1 &
    await "the moment before the next kernel" is_stopped_or_ended $!
    is_stopped || { cat /tmp/kexec && fail "luoctl kexec has ended"; }
}

is_stopped_or_ended() { is_stopped || is_ended "$1"; }

start_next() { # STAGE
    echo "$1" >$dax/stage
    echo "kernel $stage: boot $(boot), ends"
    sync
    start-loaded
    fail "the kernel was not replaced"
}

# The kernel is not replaced, because luoctl ends: the boot goes on.
call_off() {
    end_all luoctl
    await "luod" luoctl status
}

# --- Cases

killed_then_called_off() {
    prepare
    end "$orchestrator_pid"
    call_off
    check "the orchestrator killed after the publication, and the update called off" there
}

kill_and_go() { # keeper|orchestrator|both
    fill
    prepare
    case $1 in
    keeper) end "$luod_pid" ;;
    orchestrator) end "$orchestrator_pid" ;;
    both) end_all luod ;;
    esac
    start_next $((stage + 1))
}

go() {
    fill
    echo $((stage + 1)) >$dax/stage
    echo "kernel $stage: boot $(boot), ends"
    sync
    kexec >/tmp/output 2>&1
    cat /tmp/output
    fail "the kernel was not replaced"
}

first_kernel() {
    expect "a file system" mkfs.ext4 -q -b 4096 /dev/pmem0
    expect "the mount" mount -o dax /dev/pmem0 $dax
    cp -L /boot/vmlinuz /boot/initrd.img $dax
    start_luod
    fill
    killed_then_called_off
    kill_and_go orchestrator
}

# luod is stopped at its first call of a kind and killed there, then at its second one, and so on, until luod is ready
# without a stop. Each time the state is that of the previous kernel.
sweep_start() { # CALL
    number=1
    while :; do
        rm -rf $LUO_STATE
        cp -a $dax/published $LUO_STATE
        until_call "$1" ":when=$number" luod >/tmp/luod 2>>$log &
        await "a stop at call $number of $1, or luod" is_stopped_or_ready
        if ! is_stopped; then break; fi
        end_all strace
        end_all luod
        number=$((number + 1))
    done
    echo "  passed  luod killed at each of its $((number - 1)) first calls of $1 after the boot"
    end_all luod
}

is_stopped_or_ready() { is_stopped || grep -q ready /tmp/luod; }

last_kernel_dax() {
    cp -a $LUO_STATE $dax/published
    for call in openat openat2 fsync; do sweep_start $call; done
    rm -rf $LUO_STATE
    cp -a $dax/published $LUO_STATE
    start_luod
    check "luod killed while it began after the boot" there
}

# All processes of luod, the holder among them, are killed while luod retrieves the files from the kernel's session. The
# session ends with them.
killed_while_retrieving() {
    until_call ioctl :when=3 luod >/tmp/luod 2>>$log &
    await "a stop at the third call of ioctl" is_stopped
    end_all strace
    end_all luod
    start_luod
    check "luod killed while it retrieved from the kernel" lost
}

# --- The early part: a thread of luod gives memory files to the kernel, and luod serves its clients meanwhile.

# Makes a session with a small memory file.
fill_more() { # SESSION
    expect "a session" luoctl session create "$1"
    exec 3<>"/dev/shm/$1"
    rm "/dev/shm/$1"
    echo "$1" >&3
    expect "a small memory file" luoctl preserve --session "$1" --token 1 --fd 3
    exec 3>&-
}

check_more() { # SESSION
    expect "the small memory file of $1" luoctl retrieve --session "$1" --token 1 -- grep -q "$1" /proc/self/fd/3
    expect "the finish of $1" luoctl finish --session "$1"
}

# Traces the calls of ioctl of the orchestrator's threads but the main one, and does something to the first call of a thread:
# it gives the first memory file to the kernel.
at_gift() { # INJECTION
    orchestrator_pid=$(orchestrator)
    threads=$(ls "/proc/$orchestrator_pid/task" | grep -vx "$orchestrator_pid" | sed 's/^/-p /')
    # shellcheck disable=SC2086 # each option is a word
    strace $threads -o /tmp/gift -e trace=ioctl -e "inject=ioctl:$1:when=1" 2>/tmp/attached &
    await "strace" grep -q attached /tmp/attached
}

is_stopped_at_gift() { grep -q 'stopped by SIGSTOP' /tmp/gift; }

# The next orchestrator does the request again, so the kernel is replaced, and everything goes with it.
killed_early() {
    begin_early signal=STOP
    await "the gift" is_stopped_at_gift
    end "$orchestrator_pid"
    await_next_kernel
}

begin_early() { # INJECTION
    fill_more first
    fill_more second
    echo $((stage + 1)) >$dax/stage
    at_gift "$1"
    kexec >/tmp/kexec 2>&1 &
    command=$!
}

await_next_kernel() {
    echo "kernel $stage: boot $(boot), ends"
    sync
    wait $command
    cat /tmp/kexec
    fail "the kernel was not replaced"
}

has_kernel_session() { ls -l "/proc/$orchestrator_pid/fd" | grep -q luo; }

# The thread waits for ten seconds. In this time a client preserves another memory file, which must go, too.
served_early() {
    begin_early delay_enter=10000000
    await "the session of the kernel" has_kernel_session
    fill_more late
    is_ended $command && fail "the early part has ended too early"
    await_next_kernel
}

check_early() { # WHAT SESSION...: the memory files of the early part, and those of more sessions, are there
    title=$1
    shift
    for session in first second "$@"; do check_more "$session"; done
    echo "  passed  $title: all memory files are there"
}

# luod cannot restore the permissions of a memory file. The file must not arrive with the rights of all.
start_without_rights() { start_luod strace -f -o /dev/null -e trace=fchmod -e inject=fchmod:error=EPERM; }

end_kernel() {
    case $stage-$carrier in
    2-*) kill_and_go keeper ;;
    3-*) kill_and_go both ;;
    4-* | 7-luo) go ;;
    5-luo) killed_early ;;
    6-luo) served_early ;;
    esac
}

mkdir -p $dax
await "the disk" test -b /dev/pmem0
mount -o dax /dev/pmem0 $dax 2>/dev/null || first_kernel
stage=$(cat $dax/stage)
lost=there
[ "$carrier" = dax ] || lost=lost
case $stage in
5) ;;
8) start_without_rights ;;
*) start_luod ;;
esac
case $stage-$carrier in
2-*) check "the orchestrator killed after the publication" $lost ;;
3-*) check "the keeper killed after the publication" any ;;
4-*) check "both processes killed after the publication" $lost ;;
5-dax) last_kernel_dax ;;
5-luo) killed_while_retrieving ;;
6-luo) check_early "the orchestrator killed in the early part" ;;
7-luo) check_early "a client served in the early part" late ;;
8-luo) check "luod that cannot restore the permissions of a memory file" lost ;;
esac
end_kernel

# SPDX-License-Identifier: Apache-2.0
# The functions that tests in guests share. A test sets `stage`, the number of its kernel, and `log`, the file with luod's
# log. The output of the last command that was expected to succeed or to fail is in /tmp/output.

fail() {
    echo "FAILED in kernel ${stage:-1}: $*"
    echo "--- the log of luod:"
    show_log
    exit 1
}

show_log() { if [ -r "${log:-}" ]; then cat "$log"; fi; }

expect() { # WHAT COMMAND...: the command succeeds
    what=$1
    shift
    "$@" >/tmp/output 2>&1 && return
    status=$?
    cat /tmp/output
    fail "$what (exit $status)"
}

expect_exit() { # WHAT STATUS PATTERN COMMAND...: the command ends with the status, and prints a line with the pattern
    what=$1 wanted=$2 pattern=$3
    shift 3
    status=0
    "$@" >/tmp/output 2>&1 || status=$?
    if [ $status = "$wanted" ] && grep -qE -- "$pattern" /tmp/output; then
        echo "  passed  $what"
        return
    fi
    cat /tmp/output
    fail "$what: exit $status, not $wanted, or no \"$pattern\""
}

expect_text() { # WHAT TEXT...: the last command has printed all of these
    what=$1
    shift
    for text in "$@"; do
        grep -qF -- "$text" /tmp/output || { cat /tmp/output && fail "$what: \"$text\" is missing"; }
    done
}

expect_is() { # WHAT EXPECTED FOUND
    [ "$2" = "$3" ] || fail "$1: \"$3\", and not \"$2\""
}

refused() { # WHAT COMMAND...: the command fails
    what=$1
    shift
    if "$@" >/tmp/output 2>&1; then cat /tmp/output && fail "$what: it succeeded"; fi
    echo "refused, as it should be: $what"
}

await() { # WHAT COMMAND...: the command succeeds within two minutes
    what=$1
    shift
    for _ in $(seq 600); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.2
    done
    fail "$what does not come"
}

# luod is ready within two minutes. Its processes are those of `luod`, a program in front of it, or luod itself.
start_luod() { # [PROGRAM...]
    : >/tmp/luod
    "$@" luod --socket-mode 0666 >/tmp/luod 2>>"$log" &
    luod=$!
    await "luod's first line" grep -q ready /tmp/luod
}

# The checksum of a file of a session.
sum() { # SESSION TOKEN [OPTION...]
    session=$1 token=$2
    shift 2
    luoctl retrieve --session "$session" --token "$token" "$@" -- sh -c 'sha256sum </proc/self/fd/3' | cut -c 1-64
}

boot() { cut -c 1-8 /proc/sys/kernel/random/boot_id; }

// SPDX-License-Identifier: Apache-2.0
#include "CCallCounter.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// The system calls with which the counted thread begins and ends the count. No kernel has them.
enum { BEGIN = 0xffffe, END = 0xfffff };

// The tracer: lets the thread go on from stop to stop, and counts the entries of system calls, until the last one.
// It calls only functions that are safe after a fork of a process with threads.
static _Noreturn void count(pid_t thread, int socket) {
    long calls = 0;
    int status;
    if (ptrace(PTRACE_SEIZE, thread, 0, PTRACE_O_TRACESYSGOOD) != 0) _exit(1);
    if (ptrace(PTRACE_INTERRUPT, thread, 0, 0) != 0) _exit(1);
    if (write(socket, &calls, sizeof calls) != sizeof calls) _exit(1);
    while (waitpid(thread, &status, __WALL) == thread && WIFSTOPPED(status)) {
        int signal = 0;
        if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
            struct __ptrace_syscall_info info;
            ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof info, &info);
            if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
                if (info.entry.nr == END) break;
                // The calls before BEGIN are those of the start.
                calls = info.entry.nr == BEGIN ? 0 : calls + 1;
            }
        } else if (status >> 16 == 0) {
            signal = WSTOPSIG(status);
        }
        if (ptrace(PTRACE_SYSCALL, thread, 0, signal) != 0) _exit(1);
    }
    ptrace(PTRACE_DETACH, thread, 0, 0);
    _exit(write(socket, &calls, sizeof calls) != sizeof calls);
}

int call_counter_start(struct call_counter *counter) {
    int ends[2];
    long attached;
    pid_t thread = (pid_t)syscall(SYS_gettid);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return -1;
    // Where Yama restricts ptrace(2), a process may be traced by its descendants only if it says so.
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    counter->tracer = fork();
    if (counter->tracer == 0) {
        close(ends[0]);
        count(thread, ends[1]);
    }
    close(ends[1]);
    counter->socket = ends[0];
    if (counter->tracer > 0 && read(ends[0], &attached, sizeof attached) == sizeof attached) {
        syscall(BEGIN);
        return 0;
    }
    if (counter->tracer > 0) waitpid(counter->tracer, NULL, 0);
    close(ends[0]);
    return -1;
}

long call_counter_stop(struct call_counter *counter) {
    long calls;
    syscall(END);
    if (read(counter->socket, &calls, sizeof calls) != sizeof calls) calls = -1;
    close(counter->socket);
    waitpid(counter->tracer, NULL, 0);
    return calls;
}

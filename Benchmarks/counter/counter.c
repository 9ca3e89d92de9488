// SPDX-License-Identifier: Apache-2.0
#include "CCallCounter.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// Two numbers of system calls that no kernel has. The counted thread makes BEGIN before and END after the counted work.
enum { BEGIN = 0xffffe, END = 0xfffff, STACK = 1 << 16 };

struct tracer {
    pid_t thread;
    int socket;
};

// Runs in the tracer: lets the thread continue after each stop, and counts its system calls until END. The tracer
// shares the memory of the process, because copies would cost the counted work page faults. So it only makes system
// calls. It closes its copies of other descriptors: the counted work may wait for a last close.
static int count(void *argument) {
    struct tracer tracer = *(struct tracer *)argument;
    long calls = 0;
    int status;
    syscall(SYS_close_range, tracer.socket + 1, ~0U, 0);
    if (tracer.socket > 3) syscall(SYS_close_range, 3, tracer.socket - 1, 0);
    if (ptrace(PTRACE_SEIZE, tracer.thread, 0, PTRACE_O_TRACESYSGOOD) != 0) return 1;
    if (ptrace(PTRACE_INTERRUPT, tracer.thread, 0, 0) != 0) return 1;
    if (write(tracer.socket, &calls, sizeof calls) != sizeof calls) return 1;
    while (waitpid(tracer.thread, &status, __WALL) == tracer.thread && WIFSTOPPED(status)) {
        int signal = 0, request = PTRACE_SYSCALL;
        if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
            struct __ptrace_syscall_info info = {0};
            if (ptrace(PTRACE_GET_SYSCALL_INFO, tracer.thread, sizeof info, &info) <= 0) return 1;
            if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
                if (info.entry.nr == END) break;
                // Calls before BEGIN do not belong to the counted work.
                calls = info.entry.nr == BEGIN ? 0 : calls + 1;
            }
        } else if (status >> 16 == 0) {
            signal = WSTOPSIG(status);
        } else if (WSTOPSIG(status) != SIGTRAP) {
            request = PTRACE_LISTEN;  // SIGSTOP and the like stop the whole process
        }
        if (ptrace(request, tracer.thread, 0, signal) != 0) return 1;
    }
    ptrace(PTRACE_DETACH, tracer.thread, 0, 0);
    return write(tracer.socket, &calls, sizeof calls) != sizeof calls;
}

static int end(struct call_counter *counter) {
    close(counter->socket);
    while (waitpid(counter->tracer, NULL, 0) == -1 && errno == EINTR) {}
    munmap(counter->stack, STACK);
    return -1;
}

int call_counter_attach(struct call_counter *counter) {
    int ends[2];
    long attached;
    struct tracer tracer = {.thread = (pid_t)syscall(SYS_gettid)};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return -1;
    counter->socket = ends[0];
    tracer.socket = ends[1];
    counter->stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    // Where Yama restricts ptrace(2), a child may trace its parent only if the parent allows it.
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    counter->tracer = clone(count, (char *)counter->stack + STACK, CLONE_VM | SIGCHLD, &tracer);
    close(ends[1]);
    if (counter->tracer == -1) {
        close(ends[0]);
        munmap(counter->stack, STACK);
        return -1;
    }
    ssize_t length;
    do {
        length = read(ends[0], &attached, sizeof attached);
    } while (length == -1 && errno == EINTR);
    prctl(PR_SET_PTRACER, 0, 0, 0, 0);
    return length == sizeof attached ? 0 : end(counter);
}

void call_counter_begin(void) { syscall(BEGIN); }

long call_counter_stop(struct call_counter *counter) {
    long calls;
    ssize_t length;
    syscall(END);
    do {
        length = read(counter->socket, &calls, sizeof calls);
    } while (length == -1 && errno == EINTR);
    end(counter);
    return length == sizeof calls ? calls : -1;
}

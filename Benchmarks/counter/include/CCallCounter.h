// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <sys/types.h>

// Counts the system calls of one thread: a child process traces the thread with ptrace(2). This is C, because the
// child shares the memory of the process (CLONE_VM), so Swift code must not run in it.
struct call_counter {
    pid_t tracer;
    int socket;
    void *stack;
};

// Attaches a tracer to the calling thread. Returns 0, or -1 where the thread cannot be traced.
int call_counter_attach(struct call_counter *counter);
// Begins the count. The same thread must call this.
void call_counter_begin(void);
// Ends the count. The same thread must call this. Returns the number of system calls since the beginning; -1 if the
// tracer died.
long call_counter_stop(struct call_counter *counter);

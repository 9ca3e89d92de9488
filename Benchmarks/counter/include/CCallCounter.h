// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <sys/types.h>

// Counts the system calls of one thread, with a tracer that this starts (ptrace(2)). C, because the tracer runs between
// fork(2) and _exit(2), where Swift code must not run.
struct call_counter {
    pid_t tracer;
    int socket;
};

// Starts to count the system calls of the calling thread. Returns 0, or -1 where the thread cannot be traced.
int call_counter_start(struct call_counter *counter);
// Ends the count, on the same thread, and returns the number of system calls since the start; -1 if the tracer died.
long call_counter_stop(struct call_counter *counter);

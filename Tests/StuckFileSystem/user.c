// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "stuck_file_system.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

// Runs as a thread without libc, because sanitizers allow no libc thread after a fork.
__attribute__((no_sanitize("thread", "address"))) static int close_it(void *file) {
    syscall(SYS_close, (int)(intptr_t)file);
    for (;;) syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0);
}

pid_t stuck_file_system_user(const char *path, int closing_thread) {
    static char stack[16384] __attribute__((aligned(16)));
    int thread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
    pid_t child = fork();
    if (child != 0) return child;
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file == -1) _exit(1);
    if (closing_thread && clone(close_it, stack + sizeof stack, thread, (void *)(intptr_t)file) == -1) _exit(1);
    for (;;) pause();
}

// SPDX-License-Identifier: Apache-2.0

// exec start FIRST COUNT: the floor of replacing a process that keeps its memory files.
//
// Notes the time and replaces itself by execve, with the descriptors FIRST ... FIRST + COUNT - 1 inherited. The new
// program reads one word of each file and prints the nanoseconds since that time.
//
// For each file, it makes the system calls that every program needs to keep a file:
//
// 1. Before the execve it reads the size and the offset, which must be the same afterwards, and clears close-on-exec.
// 2. After the execve it sets close-on-exec again, so that no child inherits the file. It checks the file's identity
//    with fstat, makes a copy of the descriptor for the program, and reads the word through that copy.
#include "floor.h"

#include <sys/syscall.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

static void give(int fd) {
    struct stat status;
    check(fstat(fd, &status) == 0, "fstat");
    check(lseek(fd, 0, SEEK_CUR) >= 0, "lseek");
    check(fcntl(fd, F_SETFD, 0) == 0, "F_SETFD");
}

static void take(int fd) {
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    check(own >= 0, "F_DUPFD_CLOEXEC");
    check_word(own);  // with the fstat
    close(own);
}

int main(int argc, char **argv) {
    if (argc < 4) return fputs("usage: exec start FIRST COUNT\n", stderr), 64;
    int first = atoi(argv[2]), count = atoi(argv[3]);
    if (strcmp(argv[1], "start") == 0) {
        char time[32];
        char *arguments[] = {argv[0], "go", argv[2], argv[3], time, NULL};
        snprintf(time, sizeof time, "%llu", (unsigned long long)now());
        for (int fd = first; fd < first + count; fd++) give(fd);
        execv("/proc/self/exe", arguments);
        check(0, "execv");
    }
    check(syscall(SYS_close_range, first, first + count - 1, CLOSE_RANGE_CLOEXEC) == 0, "close_range");
    for (int fd = first; fd < first + count; fd++) take(fd);
    printf("%llu\n", (unsigned long long)now() - strtoull(argv[4], NULL, 10));
    return 0;
}

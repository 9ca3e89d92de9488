// SPDX-License-Identifier: Apache-2.0

// The checks of the tests. A test is a function; the first wrong result ends the program.
#pragma once
#include "liveupdate.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *test = "";

__attribute__((noreturn)) static inline void fail(const char *what, int line, long value) {
    printf("not ok - %s, line %d: %s: %ld, errno %d (%s), reason: %s\n", test, line, what, value, errno,
           strerror(errno), luo_reason());
    fflush(stdout);
    _exit(1);
}

// OK checks that a call works, FAILS that it fails with an errno and a reason, and IS a condition.
#define OK(call)                                       \
    ({                                                 \
        long value_ = (long)(call);                    \
        if (value_ < 0) fail(#call, __LINE__, value_); \
        (int)value_;                                   \
    })
#define FAILS(error, call)                                                                         \
    do {                                                                                           \
        errno = 0;                                                                                 \
        long value_ = (long)(call);                                                                \
        if (value_ != -1 || errno != (error)) fail(#call " fails with " #error, __LINE__, value_); \
        if (strlen(luo_reason()) < 10) fail(#call " has a reason", __LINE__, value_);              \
    } while (0)
#define IS(condition)                                    \
    do {                                                 \
        if (!(condition)) fail(#condition, __LINE__, 0); \
    } while (0)
#define TEST(function)                \
    do {                              \
        test = #function;             \
        function();                   \
        printf("ok - %s\n", test);    \
        fflush(stdout);               \
    } while (0)

// A memory file that is known by its content.
static inline int memory(const char *content) {
    int fd = OK(memfd_create("client", MFD_CLOEXEC));
    OK(ftruncate(fd, 1 << 16));
    OK(pwrite(fd, content, strlen(content) + 1, 4096));
    return fd;
}
static inline bool is_same(int one, int other) {
    struct stat a, b;
    return fstat(one, &a) == 0 && fstat(other, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}
static inline bool has_content(int fd, const char *content) {
    char found[256] = "";
    return pread(fd, found, sizeof found - 1, 4096) > 0 && strcmp(found, content) == 0;
}

// The open descriptors of this process.
static inline int open_descriptors(void) {
    DIR *directory = opendir("/proc/self/fd");
    IS(directory);
    int count = -1; // not that of the directory
    for (struct dirent *entry; (entry = readdir(directory));) count += entry->d_name[0] != '.';
    closedir(directory);
    return count;
}

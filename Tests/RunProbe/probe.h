// SPDX-License-Identifier: Apache-2.0

// Common parts of the scenarios: the calls as the documentation defines them, and the checks.
#pragma once
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEVICE "/dev/liveupdate"
#define CREATE_SESSION _IO(0xBA, 0x00)
#define RETRIEVE_SESSION _IO(0xBA, 0x01)
#define PRESERVE_FD _IO(0xBA, 0x40)
#define RETRIEVE_FD _IO(0xBA, 0x41)
#define FINISH _IO(0xBA, 0x42)
#define GET_NAME _IO(0xBA, 0x43)

struct name {
    uint32_t size;
    int32_t fd;
    uint8_t name[64];
};
struct file {
    uint32_t size;
    int32_t fd;
    uint64_t token;
};
struct word {
    uint32_t size, reserved;
};

static inline void fail(const char *what, int line, long value) {
    printf("line %d: %s: %ld, errno %d (%s)\n", line, what, value, errno, strerror(errno));
    fflush(stdout);
    _exit(1);
}

// OK checks that a call works, and FAILS that it fails with an errno.
#define OK(call)                                       \
    ({                                                 \
        long value_ = (long)(call);                    \
        if (value_ < 0) fail(#call, __LINE__, value_); \
        (int)value_;                                   \
    })
#define FAILS(error, call)                                                                 \
    do {                                                                                   \
        errno = 0;                                                                         \
        long value_ = (long)(call);                                                        \
        if (value_ != -1 || errno != (error)) fail(#call " fails with " #error, __LINE__, value_); \
    } while (0)
#define IS(condition)                                         \
    do {                                                      \
        if (!(condition)) fail(#condition, __LINE__, 0);      \
    } while (0)

static inline int device(void) { return open(DEVICE, O_RDWR | O_CLOEXEC); }

static inline int session(int device, unsigned long call, const char *name) {
    struct name argument = {.size = sizeof argument, .fd = -1};
    strncpy((char *)argument.name, name, sizeof argument.name);
    return ioctl(device, call, &argument) == 0 ? argument.fd : -1;
}

static inline int create(int device, const char *name) { return session(device, CREATE_SESSION, name); }

static inline int preserve(int session, int fd, uint64_t token) {
    struct file argument = {sizeof argument, fd, token};
    return ioctl(session, PRESERVE_FD, &argument);
}

static inline int retrieve(int session, uint64_t token) {
    struct file argument = {sizeof argument, -1, token};
    return ioctl(session, RETRIEVE_FD, &argument) == 0 ? argument.fd : -1;
}

static inline int finish(int session) {
    struct word argument = {sizeof argument, 0};
    return ioctl(session, FINISH, &argument);
}

static inline int memory(const char *content) {
    int fd = OK(memfd_create("probe", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    OK(ftruncate(fd, 1 << 20));
    OK(pwrite(fd, content, strlen(content), 4096));
    return fd;
}

static inline int same(int one, int other) {
    struct stat a, b;
    OK(fstat(one, &a));
    OK(fstat(other, &b));
    return a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

// The stages use these functions for files of each kind.
void preserve_kinds(int session);
void find_kinds(int session);

// The scenarios: working calls, failing calls, the device, many calls at once, older kernels.
void life(void);
void first_stage(const char *kinds);
void second_stage(const char *kinds);
void order(void);
void names(void);
void answers(void);
void opens(void);
void inherited(const char *number);
void paths(const char *directory);
void threads(void);
void many(void);
void interrupted(void);
void foreign(void);
void busy(void);
void crowd(void);
void stolen(void);
void kernel(const char *version);
void without(const char *calls, const char *error, char **program);

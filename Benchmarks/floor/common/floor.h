// SPDX-License-Identifier: Apache-2.0

// Code that all floors share. A floor is the least that a C program needs for the same result: it does not check
// contents, does no bookkeeping and cannot recover.
//
// For every line on standard input, a floor does one round and prints one line with the nanoseconds of each part.
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static inline void check(int ok, const char *what) {
    if (!ok) perror(what), exit(1);
}

static inline uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

// Maps the first page of a file and reads one word. The page must exist: reading a hole of a hugetlb file would fill
// it.
static inline void check_word(int fd) {
    struct stat status;
    check(fstat(fd, &status) == 0, "fstat");
    if (status.st_size == 0) return;
    size_t page = (size_t)status.st_blksize;  // for a hugetlb file the size of its huge pages
    volatile uint64_t *words = mmap(NULL, page, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
    check(words != MAP_FAILED, "mmap");
    check(words[0] != 0, "the first word");
    munmap((void *)words, page);
}

// SCM_MAX_FD: the kernel accepts no more descriptors in one message.
enum { MOST_IN_A_MESSAGE = 253 };

static inline void send_descriptors(int socket, const int *fds, int count, uint64_t note) {
    for (int sent = 0; sent < count;) {
        int some = count - sent < MOST_IN_A_MESSAGE ? count - sent : MOST_IN_A_MESSAGE;
        union {
            struct cmsghdr header;
            char room[CMSG_SPACE(MOST_IN_A_MESSAGE * sizeof(int))];
        } control;
        struct iovec bytes = {&note, sizeof note};
        struct msghdr message = {
            .msg_iov = &bytes, .msg_iovlen = 1,
            .msg_control = &control, .msg_controllen = CMSG_SPACE((size_t)some * sizeof(int))};
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN((size_t)some * sizeof(int));
        memcpy(CMSG_DATA(&control.header), fds + sent, (size_t)some * sizeof(int));
        check(sendmsg(socket, &message, 0) == sizeof note, "sendmsg");
        sent += some;
    }
}

static inline uint64_t receive_descriptors(int socket, int *fds, int count) {
    uint64_t note = 0;
    for (int got = 0; got < count;) {
        union {
            struct cmsghdr header;
            char room[CMSG_SPACE(MOST_IN_A_MESSAGE * sizeof(int))];
        } control;
        struct iovec bytes = {&note, sizeof note};
        struct msghdr message = {
            .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        check(recvmsg(socket, &message, MSG_CMSG_CLOEXEC) == sizeof note, "recvmsg");
        check(message.msg_controllen > 0 && !(message.msg_flags & MSG_CTRUNC), "descriptors that were sent");
        int some = (int)((control.header.cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds + got, CMSG_DATA(&control.header), (size_t)some * sizeof(int));
        got += some;
    }
    return note;
}

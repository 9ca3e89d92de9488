// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "stuck_file_system.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COUNTS 4096  // bytes
#define FILE_NODE 2
#ifndef LIFETIME
#define LIFETIME 60  // seconds: a test that waits for the server in vain fails then, and does not wait for ever
#endif

static struct fuse_attr attributes(uint64_t node, uint32_t mode) {
    return (struct fuse_attr){.ino = node, .mode = mode, .nlink = 1, .size = 4096, .blksize = 4096};
}

static void answer(int device, uint64_t request, int error, const void *body, uint32_t size) {
    static char message[512];
    struct fuse_out_header header = {.len = sizeof header + size, .error = -error, .unique = request};
    memcpy(message, &header, sizeof header);
    if (size > 0) memcpy(message + sizeof header, body, size);
    while (write(device, message, header.len) == -1 && errno == EINTR) {}
}

static void serve(int device, const struct fuse_in_header *request, const char *body) {
    switch (request->opcode) {
    case FUSE_INIT: {
        struct fuse_init_out init = {.major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = 4096};
        return answer(device, request->unique, 0, &init, sizeof init);
    }
    case FUSE_LOOKUP: {
        if (strcmp(body, "file") != 0) return answer(device, request->unique, ENOENT, NULL, 0);
        // The result of a stat expires at once, so that each stat asks the server again.
        struct fuse_entry_out entry = {.nodeid = FILE_NODE, .entry_valid = 0, .attr_valid = 0};
        entry.attr = attributes(FILE_NODE, S_IFREG | 0666);
        return answer(device, request->unique, 0, &entry, sizeof entry);
    }
    case FUSE_OPEN: {
        struct fuse_open_out open = {.fh = 1};
        return answer(device, request->unique, 0, &open, sizeof open);
    }
    default: return;  // a request without an answer
    }
}

// Whether the process that started the server has ended. A process cannot end completely while its threads wait for
// this server. Instead, its first thread is a zombie or has SIGKILL pending.
static int is_gone(pid_t starter) {
    if (getppid() != starter) return 1;
    char path[32], text[4096];
    snprintf(path, sizeof path, "/proc/%d/status", starter);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t count = file == -1 ? -1 : read(file, text, sizeof text - 1);
    if (file != -1) close(file);
    if (count <= 0) return 1;
    text[count] = 0;
    const char *state = strstr(text, "State:\t"), *pending = strstr(text, "SigPnd:\t");
    if (state != NULL && state[7] == 'Z') return 1;
    return pending != NULL && (strtoull(pending + 8, NULL, 16) >> (SIGKILL - 1) & 1) != 0;
}

static void serve_for(pid_t starter, int device, volatile uint32_t *requests) {
    static char buffer[FUSE_MIN_READ_BUFFER * 4];
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    for (time_t end = now.tv_sec + LIFETIME; now.tv_sec < end; clock_gettime(CLOCK_MONOTONIC, &now)) {
        struct pollfd waited = {.fd = device, .events = POLLIN};
        if (poll(&waited, 1, 200) == 0 && is_gone(starter)) return;
        if ((waited.revents & POLLIN) == 0) continue;
        ssize_t count = read(device, buffer, sizeof buffer);
        if (count == -1 && errno != EINTR && errno != EAGAIN && errno != ENOENT) return;
        if (count < (ssize_t)sizeof(struct fuse_in_header)) continue;
        struct fuse_in_header request;
        memcpy(&request, buffer, sizeof request);
        if (request.opcode < COUNTS / sizeof *requests) requests[request.opcode]++;
        serve(device, &request, buffer + sizeof request);
    }
}

static int mount_at_tmp(int device) {
    char options[128];
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", device);
    if (unshare(CLONE_NEWNS) == -1 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1) return errno;
    return mount("stuck", "/tmp", "fuse", MS_NOSUID | MS_NODEV, options) == -1 ? errno : 0;
}

static void run(pid_t starter, int ready, volatile uint32_t *requests) {
    signal(SIGTERM, SIG_DFL);
    int device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    int error = device == -1 ? errno : mount_at_tmp(device);
    // This process must not hold descriptors of the tests longer than the tests do.
    int copy = fcntl(ready, F_DUPFD_CLOEXEC, 1000), low = fcntl(device, F_DUPFD_CLOEXEC, 1001);
    syscall(SYS_close_range, 3, (unsigned)copy - 1, 0);
    if (low > copy + 1) syscall(SYS_close_range, (unsigned)copy + 1, (unsigned)low - 1, 0);
    syscall(SYS_close_range, (unsigned)low + 1, ~0U, 0);
    if (write(copy, &error, sizeof error) == -1 || error != 0) _exit(1);
    close(copy);
    serve_for(starter, low, requests);
    _exit(0);
}

int stuck_file_system_start(struct stuck_file_system *system) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) == -1) return errno;
    system->requests = mmap(NULL, COUNTS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t starter = getpid();
    system->process = system->requests == MAP_FAILED ? -1 : fork();
    int error = errno;
    if (system->process == 0) run(starter, ends[1], system->requests);
    close(ends[1]);
    if (system->process > 0 && read(ends[0], &error, sizeof error) != sizeof error) error = EIO;
    close(ends[0]);
    if (system->process > 0 && error != 0) stuck_file_system_end(system);
    if (error != 0) stuck_file_system_forget(system);
    return error;
}

void stuck_file_system_end(struct stuck_file_system *system) {
    kill(system->process, SIGKILL);
    while (waitpid(system->process, NULL, 0) == -1 && errno == EINTR) {}
}

void stuck_file_system_forget(struct stuck_file_system *system) {
    if (system->requests != MAP_FAILED) munmap((void *)system->requests, COUNTS);
}

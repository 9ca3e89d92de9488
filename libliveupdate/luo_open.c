// SPDX-License-Identifier: Apache-2.0

// Connections to luod, and the device.
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define STATE "/run/luo"
#define DEVICE "/dev/liveupdate"

static int fail_to_connect(int error, const char *state) {
    switch (error) {
    case ENOTDIR: return luo__fail(error, "no luod runs on %s\nname the directory of its state", state);
    case ENOENT:
    case ECONNREFUSED:
        return luo__fail(error, "no luod runs on %s\nstart it: luod --state %s; or name another state", state, state);
    case EACCES:
        return luo__fail(
            error, "this user may not connect to luod on %s\nrun as the user of luod or as root, or start luod with "
                   "--socket-group and --socket-mode 0660 for a group, or with --socket-mode 0666 for everybody",
            state);
    case ENAMETOOLONG: return luo__fail(error, "the path of the state is too long: %s\nuse a shorter one", state);
    default: return luo__fail(error, "connecting to luod on %s failed: %s", state, strerror(error));
    }
}

static void close_canceled(void *fd) { close(*(int *)fd); }

// Connects to one socket of luod. Returns the descriptor, or -1 with errno.
static int connect_to(const char *state, const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length = snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", state, name);
    if (length < 0 || (size_t)length >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    int result;
    // connect(2) waits while the socket's queue is full, and a thread can be canceled in it.
    pthread_cleanup_push(close_canceled, &fd);
    do result = connect(fd, (const struct sockaddr *)&address, sizeof address);
    while (result < 0 && errno == EINTR);
    pthread_cleanup_pop(0);
    if (result == 0) return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

// Waits for an answer of luod. -1: none came, or luod cannot read its state (EIO).
static int ping(int fd) {
    struct luo_word word = {sizeof word, 0};
    if (luo_ioctl(fd, LUO_PING, &word) == 0) return 0;
    // A luod that emulates an older kernel, and an older luod, have no such call. That is an answer, too.
    return errno == EINVAL ? 0 : -1;
}

enum { TRIES = 8 };

int luo_open_state(const char *path) {
    const char *named = secure_getenv("LUO_STATE");
    const char *state = path ? path : named && *named ? named : STATE;
    for (int try = 1;; try++) {
        // The first socket is for root and the user of luod only.
        int fd = connect_to(state, "root");
        if (fd < 0) fd = connect_to(state, "liveupdate");
        if (fd < 0) return fail_to_connect(errno, state);
        if (ping(fd) == 0) return fd;
        int error = errno;
        close(fd);
        errno = error;
        // A connection ends with a process of luod that dies before the next one knows of it.
        if (error != ENOTCONN || try == TRIES) return -1;
    }
}

int luo_open_device(const char *path) {
    if (!path) path = DEVICE;
    int fd;
    do fd = open(path, O_RDWR | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    if (fd >= 0) return fd;
    int error = errno;
    switch (error) {
    case ENOENT:
    case ENXIO:
    case ENODEV:
        return luo__fail(
            error, "this kernel has no %s\n"
                   "use luod, which needs no such device, or start a kernel that has LUO with kho=on liveupdate=on",
            path);
    case EBUSY: return luo__fail(error, "%s is open in another program\nwait for its end", path);
    case EACCES: return luo__fail(error, "only root may open %s\nrun as root", path);
    default: return luo__fail(error, "opening %s failed: %s", path, strerror(error));
    }
}

int luo_open(void) {
    const char *named = secure_getenv("LUO_STATE");
    int fd = luo_open_state(NULL);
    if (fd >= 0 || errno != ENOENT || (named && *named)) return fd;
    fd = luo_open_device(NULL);
    if (fd >= 0 || errno != ENOENT) return fd;
    return luo__fail(
        ENOENT, "no luod runs on " STATE ", and this kernel has no " DEVICE "\n"
                "start luod, or name its state with LUO_STATE");
}

// SPDX-License-Identifier: Apache-2.0
#include "CLiveUpdate.h"

#include <errno.h>
#include <string.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#define MOST CSHIMS_MOST_DESCRIPTORS

ssize_t cshims_send(int fd, const void *bytes, size_t count, const int *descriptors, size_t number) {
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(MOST * sizeof(int))];
    } control;
    struct iovec part = {.iov_base = (void *)bytes, .iov_len = count};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (number > MOST) {
        errno = EINVAL;
        return -1;
    }
    if (number > 0) {
        message.msg_control = control.room;
        message.msg_controllen = CMSG_SPACE(number * sizeof(int));
        memset(control.room, 0, message.msg_controllen);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(number * sizeof(int));
        memcpy(CMSG_DATA(header), descriptors, number * sizeof(int));
    }
    return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

ssize_t cshims_receive(
    int fd, void *bytes, size_t count, int *descriptors, size_t *number, int *truncated, int flags) {
    union {
        struct cmsghdr align;
        // Room for all descriptors that one message can carry: the kernel would close the others here, and a close may
        // sleep.
        char room[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(CSHIMS_MOST_RECEIVED * sizeof(int))];
    } control;
    struct iovec part = {.iov_base = bytes, .iov_len = count};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
    *number = 0;
    *truncated = 0;
    ssize_t result = recvmsg(fd, &message, flags | MSG_CMSG_CLOEXEC);
    if (result < 0) return result;
    *truncated = (message.msg_flags & MSG_TRUNC) != 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        size_t here = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(descriptors + *number, CMSG_DATA(header), here * sizeof(int));
        *number += here;
    }
    if (*number > MOST) *truncated = 1;
    // The buffer has room for all descriptors that the kernel passes, so MSG_CTRUNC means that one could not be opened.
    if (message.msg_flags & MSG_CTRUNC) *truncated = CSHIMS_LACKS_DESCRIPTORS;
    return result;
}

ssize_t cshims_discard(int fd) {
    char byte;
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    // There is no room for descriptors, so the kernel drops those of the message, and nothing has to be closed.
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    return recvmsg(fd, &message, MSG_DONTWAIT);
}

int cshims_peer(int fd, pid_t *process, uid_t *user) {
    struct ucred credentials;
    socklen_t length = sizeof credentials;
    int result = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length);
    if (result == 0) {
        *process = credentials.pid;
        *user = credentials.uid;
    }
    return result;
}

int cshims_accept(int fd) { return accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK); }

int cshims_is_message_socket(int fd) {
    int domain = 0, type = 0;
    socklen_t length = sizeof domain;
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && domain == AF_UNIX && type == SOCK_SEQPACKET;
}

ssize_t cshims_socket_name(int fd, int peer, unsigned char *name, size_t room) {
    struct sockaddr_un address;
    socklen_t length = sizeof address;
    struct sockaddr *found = (struct sockaddr *)&address;
    if ((peer ? getpeername(fd, found, &length) : getsockname(fd, found, &length)) == -1) return -1;
    if (address.sun_family != AF_UNIX || length <= offsetof(struct sockaddr_un, sun_path)) return 0;
    size_t count = length - offsetof(struct sockaddr_un, sun_path);
    if (count > room) count = room;
    memcpy(name, address.sun_path, count);
    return (ssize_t)count;
}

int cshims_socket_cookie(int fd, uint64_t *cookie) {
    socklen_t length = sizeof *cookie;
    return getsockopt(fd, SOL_SOCKET, SO_COOKIE, cookie, &length);
}

int cshims_has_message(int fd) {
    int on = 1;
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(struct ucred))];
    } control;
    // There is no room for descriptors, so those of the message are not installed.
    struct msghdr message = {.msg_control = control.room, .msg_controllen = sizeof control.room};
    setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    if (recvmsg(fd, &message, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0) return 0;
    return message.msg_controllen > 0 || (message.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) != 0;
}

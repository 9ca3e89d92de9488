// SPDX-License-Identifier: Apache-2.0

// echo PATH: an echo server, for scripts/daemon/attack. It answers each message of a SOCK_SEQPACKET socket with the
// same bytes and descriptors, and does nothing else: the time of its answers is the time that the machine needs.
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MOST_DESCRIPTORS 4

static void echo(int connection) {
    static char bytes[8192];
    union {
        char room[CMSG_SPACE(MOST_DESCRIPTORS * sizeof(int))];
        struct cmsghdr header;
    } control;
    struct iovec part = {.iov_base = bytes, .iov_len = sizeof bytes};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t count = recvmsg(connection, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (count == -1 && (errno == EAGAIN || errno == EINTR)) return;
    if (count <= 0) {
        close(connection);
        return;
    }
    part.iov_len = count;
    ssize_t sent = sendmsg(connection, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header != NULL && header->cmsg_type == SCM_RIGHTS) {
        int numbers[MOST_DESCRIPTORS];
        size_t length = header->cmsg_len - CMSG_LEN(0);
        memcpy(numbers, CMSG_DATA(header), length);
        for (size_t index = 0; index < length / sizeof(int); index++) close(numbers[index]);
    }
    if (sent == -1) close(connection);
}

int main(int count, char **arguments) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (count != 2 || strlen(arguments[1]) >= sizeof address.sun_path) {
        fprintf(stderr, "usage: echo PATH\n");
        return 64;
    }
    strcpy(address.sun_path, arguments[1]);
    int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    if (bind(listener, (struct sockaddr *)&address, sizeof address) == -1 || chmod(arguments[1], 0666) == -1 ||
        listen(listener, 1024) == -1 || epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event) == -1) {
        perror(arguments[1]);
        return 1;
    }
    puts("ready");
    fflush(stdout);
    for (;;) {
        if (epoll_wait(poller, &event, 1, -1) != 1) continue;
        if (event.data.fd != listener) {
            echo(event.data.fd);
            continue;
        }
        int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (connection == -1) continue;
        event = (struct epoll_event){.events = EPOLLIN, .data.fd = connection};
        epoll_ctl(poller, EPOLL_CTL_ADD, connection, &event);
    }
}

// SPDX-License-Identifier: Apache-2.0

// call: the floor of a request with a descriptor, and of its answer. Two processes exchange the two messages, and the
// receiver does nothing with the descriptor.
#include "floor.h"

// As long as a PRESERVE_FD request with its tag, and as long as the answer: docs/protocol.md.
enum { MESSAGE = 28 };

static void serve(int socket) {
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    char request[MESSAGE];
    for (;;) {
        int came;
        struct iovec bytes = {request, sizeof request};
        struct msghdr message = {
            .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        ssize_t length = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
        if (length == 0) return;
        check(length == MESSAGE && message.msg_controllen > 0, "recvmsg");
        check(!(message.msg_flags & MSG_CTRUNC), "a descriptor that was sent");
        memcpy(&came, CMSG_DATA(&control.header), sizeof came);
        check(send(socket, request, sizeof request, 0) == MESSAGE, "send");
        close(came);
    }
}

static uint64_t call(int socket, int descriptor) {
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    char request[MESSAGE] = {0};
    struct iovec bytes = {request, sizeof request};
    struct msghdr message = {
        .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.header), &descriptor, sizeof descriptor);
    uint64_t start = now();
    check(sendmsg(socket, &message, 0) == MESSAGE, "sendmsg");
    check(recv(socket, request, sizeof request, 0) == MESSAGE, "recv");
    return now() - start;
}

int main(int argc, char **argv) {
    (void)argv;
    char line[64];
    int sockets[2];
    if (argc != 1) return fputs("usage: call\n", stderr), 64;
    int descriptor = memfd_create("floor", MFD_CLOEXEC);
    check(descriptor >= 0, "memfd_create");
    check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0, "socketpair");
    pid_t server = fork();
    check(server >= 0, "fork");
    if (server == 0) {
        close(sockets[0]);
        serve(sockets[1]);
        _exit(0);
    }
    close(sockets[1]);
    while (fgets(line, sizeof line, stdin)) {
        printf("%llu\n", (unsigned long long)call(sockets[0], descriptor));
        fflush(stdout);
    }
    close(sockets[0]);
    waitpid(server, NULL, 0);
    return 0;
}

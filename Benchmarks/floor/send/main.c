// SPDX-License-Identifier: Apache-2.0

// send FIRST COUNT: the floor of sending descriptors to another process over a socket, until it answers that it has
// them all.
#include "floor.h"

static int descriptors[65536];

static void receive(int socket, int count) {
    char answer = 1;
    while (recv(socket, &answer, 1, MSG_PEEK) > 0) {
        receive_descriptors(socket, descriptors, count);
        check(send(socket, &answer, 1, 0) == 1, "send");
        for (int i = 0; i < count; i++) close(descriptors[i]);
    }
}

int main(int argc, char **argv) {
    char line[64], answer;
    int sockets[2];
    if (argc != 3) return fputs("usage: send FIRST COUNT\n", stderr), 64;
    int first = atoi(argv[1]), count = atoi(argv[2]);
    check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0, "socketpair");
    pid_t receiver = fork();
    check(receiver >= 0, "fork");
    if (receiver == 0) {
        close(sockets[0]);
        for (int i = 0; i < count; i++) close(first + i);
        receive(sockets[1], count);
        _exit(0);
    }
    close(sockets[1]);
    for (int i = 0; i < count; i++) descriptors[i] = first + i;
    while (fgets(line, sizeof line, stdin)) {
        uint64_t start = now();
        send_descriptors(sockets[0], descriptors, count, start);
        check(recv(sockets[0], &answer, 1, 0) == 1, "recv");
        printf("%llu\n", (unsigned long long)(now() - start));
        fflush(stdout);
    }
    close(sockets[0]);
    waitpid(receiver, NULL, 0);
    return 0;
}

// SPDX-License-Identifier: Apache-2.0

// cycle FIRST COUNT: the floor of a whole update through a keeper, a process that outlives the replaced process.
//
// The old process sends the descriptors FIRST ... FIRST + COUNT - 1 to the keeper over a socket and ends. The keeper
// waits until it has ended and starts a new process. The new process receives the descriptors and reads one word of
// each file. It prints the nanoseconds from before the old process's first send to after the last word.
#include <spawn.h>

#include "floor.h"

static int descriptors[65536];

static pid_t start(const char *role, int socket, char **argv) {
    char number[16];
    char *arguments[] = {argv[0], (char *)role, argv[1], argv[2], number, NULL};
    char *environment[] = {NULL};
    pid_t process;
    snprintf(number, sizeof number, "%d", socket);
    check(posix_spawn(&process, "/proc/self/exe", NULL, NULL, arguments, environment) == 0, "posix_spawn");
    return process;
}

static void finish(pid_t process) {
    int status;
    check(waitpid(process, &status, 0) == process && status == 0, "a process of the cycle");
}

static int keep(int count, char **argv) {
    int with_old[2], with_new[2];
    check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, with_old) == 0, "socketpair");
    check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, with_new) == 0, "socketpair");
    check(fcntl(with_old[1], F_SETFD, 0) == 0, "F_SETFD");
    pid_t old = start("old", with_old[1], argv);
    // The old process has its own copies. The keeper closes its inherited ones, so that it gets them over the socket
    // only.
    for (int fd = atoi(argv[1]); fd < atoi(argv[1]) + count; fd++) close(fd);
    close(with_old[1]);
    uint64_t begun = receive_descriptors(with_old[0], descriptors, count);
    finish(old);
    check(fcntl(with_new[1], F_SETFD, 0) == 0, "F_SETFD");
    pid_t next = start("new", with_new[1], argv);
    send_descriptors(with_new[0], descriptors, count, begun);
    finish(next);
    return 0;
}

static int hand_over(int first, int count, int socket) {
    for (int i = 0; i < count; i++) descriptors[i] = first + i;
    send_descriptors(socket, descriptors, count, now());
    return 0;
}

static int take_over(int count, int socket) {
    uint64_t begun = receive_descriptors(socket, descriptors, count);
    for (int i = 0; i < count; i++) check_word(descriptors[i]);
    printf("%llu\n", (unsigned long long)(now() - begun));
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 3) return keep(atoi(argv[2]), argv);
    if (argc != 5) return fputs("usage: cycle FIRST COUNT\n", stderr), 64;
    int first = atoi(argv[2]), count = atoi(argv[3]), socket = atoi(argv[4]);
    return strcmp(argv[1], "old") == 0 ? hand_over(first, count, socket) : take_over(count, socket);
}

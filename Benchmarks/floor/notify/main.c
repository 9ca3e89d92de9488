// SPDX-License-Identifier: Apache-2.0

// notify: two floors of a system call that another process answers. Each line that it prints has one number for each:
//
// 1. A notification and its answer. The process that answers does nothing with the call.
// 2. A call that is relayed to a third process and back, with the caller's descriptor and a struct in the caller's
//    memory, as `luoctl run` does it.
//
// The processes wake each other on one processor if the kernel supports that (Linux 6.6).
#include "floor.h"
#include "seccomp_since.h"

#include <linux/filter.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>

enum { CALLS = 20, STRUCT = 72, MESSAGE = STRUCT + 12 };

// Answers requests on a socket as an orchestrator does: a request stays in the queue until it is answered.
static void serve(int session) {
    int poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = session};
    check(epoll_ctl(poller, EPOLL_CTL_ADD, session, &event) == 0, "epoll_ctl");
    char message[MESSAGE];
    while (epoll_wait(poller, &event, 1, -1) == 1 && recv(session, message, sizeof message, MSG_PEEK) > 0) {
        send(session, message, sizeof message, MSG_NOSIGNAL);
        recv(session, message, sizeof message, 0);
    }
}

// Sends a request over the caller's descriptor, and copies the caller's struct here and back.
static void relay(int listener, int process, const struct seccomp_notif *call) {
    char message[MESSAGE];
    struct iovec here = {message, STRUCT}, there = {(void *)call->data.args[1], STRUCT};
    int session = (int)syscall(SYS_pidfd_getfd, process, (int)call->data.args[0], 0);
    uint64_t cookie;
    socklen_t length = sizeof cookie;
    check(getsockopt(session, SOL_SOCKET, SO_COOKIE, &cookie, &length) == 0, "SO_COOKIE");
    check(process_vm_readv((pid_t)call->pid, &here, 1, &there, 1, 0) == STRUCT, "process_vm_readv");
    check(ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &call->id) == 0, "SECCOMP_IOCTL_NOTIF_ID_VALID");
    send(session, message, sizeof message, MSG_NOSIGNAL);
    struct pollfd waited[] = {{.fd = session, .events = POLLIN}, {.fd = listener, .events = POLLIN}};
    poll(waited, 2, -1);
    recv(session, message, sizeof message, MSG_PEEK);
    check(process_vm_writev((pid_t)call->pid, &here, 1, &there, 1, 0) == STRUCT, "process_vm_writev");
    recv(session, message, sizeof message, MSG_DONTWAIT);
    close(session);
}

// Answers getppid and relays getpgid until no process is left that could call.
static void answer(int listener, int process) {
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
    for (;;) {
        struct seccomp_notif call = {0};
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) return;
        if (call.data.nr == SYS_getpgid) relay(listener, process, &call);
        struct seccomp_notif_resp response = {.id = call.id};
        ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
    }
}

static int listen_to_calls(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpgid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "prctl");
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

static pid_t start(void) {
    pid_t process = fork();
    check(process >= 0, "fork");
    return process;
}

int main(int argc, char **argv) {
    (void)argv;
    char line[64], call[STRUCT] = {0};
    int sockets[2], session[2], listener;
    if (argc != 1) return fputs("usage: notify\n", stderr), 64;
    check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0, "socketpair");
    check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, session) == 0, "socketpair");
    int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
    check(self >= 0, "pidfd_open");
    pid_t serving = start();
    if (serving == 0) {
        close(session[0]);
        serve(session[1]);
        _exit(0);
    }
    close(session[1]);
    pid_t answering = start();
    if (answering == 0) {
        receive_descriptors(sockets[1], &listener, 1);
        answer(listener, self);
        _exit(0);
    }
    listener = listen_to_calls();
    check(listener >= 0, "seccomp");
    send_descriptors(sockets[0], &listener, 1, 0);
    close(listener);
    while (fgets(line, sizeof line, stdin)) {
        uint64_t begin = now();
        for (int count = 0; count < CALLS; count++) syscall(SYS_getppid);
        uint64_t middle = now();
        for (int count = 0; count < CALLS; count++) syscall(SYS_getpgid, session[0], call);
        uint64_t end = now();
        printf("%llu %llu\n", (unsigned long long)(middle - begin) / CALLS, (unsigned long long)(end - middle) / CALLS);
        fflush(stdout);
    }
    // Not every kernel tells a process that waits for notifications that no caller is left.
    kill(answering, SIGKILL);
    kill(serving, SIGKILL);
    waitpid(answering, NULL, 0);
    waitpid(serving, NULL, 0);
    return 0;
}

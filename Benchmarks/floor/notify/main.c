// notify: the floor of a system call that somebody else answers: a notification and its answer, and nothing is done with
// it. Both wake each other on one processor where the kernel has that (Linux 6.6).
#include "floor.h"
#include "seccomp_since.h"

#include <linux/filter.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { CALLS = 20 };

// Answers getppid, until nobody is left who could call.
static void answer(int listener) {
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
    for (;;) {
        struct seccomp_notif call = {0};
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) return;
        struct seccomp_notif_resp response = {.id = call.id};
        ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
    }
}

static int listen_to_getppid(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "prctl");
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

int main(int argc, char **argv) {
    (void)argv;
    char line[64];
    int sockets[2], listener;
    if (argc != 1) return fputs("usage: notify\n", stderr), 64;
    check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0, "socketpair");
    pid_t answering = fork();
    check(answering >= 0, "fork");
    if (answering == 0) {
        receive_descriptors(sockets[1], &listener, 1);
        answer(listener);
        _exit(0);
    }
    listener = listen_to_getppid();
    check(listener >= 0, "seccomp");
    send_descriptors(sockets[0], &listener, 1, 0);
    close(listener);
    while (fgets(line, sizeof line, stdin)) {
        uint64_t start = now();
        for (int call = 0; call < CALLS; call++) syscall(SYS_getppid);
        printf("%llu\n", (unsigned long long)(now() - start) / CALLS);
        fflush(stdout);
    }
    // Not every kernel tells whoever waits for a call that nobody is left.
    kill(answering, SIGKILL);
    waitpid(answering, NULL, 0);
    return 0;
}

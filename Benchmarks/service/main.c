// SPDX-License-Identifier: Apache-2.0

// service: the programs that keep memory in the comparisons with systemd and CRIU.
//
// service store COUNT RESULT: a service that keeps COUNT memory files in systemd's descriptor store. If it is started
// without them, it creates and stores them (sd_notify(3), FDSTORE=1), and writes into RESULT how long it took until
// systemd confirmed that it has them. On SIGTERM it writes the time and ends. If it is started with them, it reads a
// word of each and writes the time.
//
// service hold BYTES huge|ordinary: creates a memory file of that size, maps and fills it, prints "ready", and waits.
// It has no terminal, no pipe, no inherited descriptor and nothing else that is not its own.
#include "floor.h"

#include <signal.h>
#include <stddef.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <sys/un.h>

#ifndef MFD_HUGETLB
#define MFD_HUGETLB 4U
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

static const char *result_path;

static void record(const char *format, ...) {
    char line[64];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    int file = open(result_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    check(file >= 0 && write(file, line, (size_t)length) == length, "the result");
    close(file);
}

static void on_term(int signal) {
    (void)signal;
    record("%llu ", (unsigned long long)now());
    _exit(0);
}

// Sends one message with descriptors to systemd.
static void notify(const char *text, const int *fds, int count) {
    static int sock = -1;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = getenv("NOTIFY_SOCKET");
    check(path != NULL && strlen(path) < sizeof address.sun_path, "NOTIFY_SOCKET");
    strcpy(address.sun_path, path);
    if (path[0] == '@') address.sun_path[0] = 0;
    if (sock < 0) sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(MOST_IN_A_MESSAGE * sizeof(int))];
    } control;
    struct iovec bytes = {(void *)text, strlen(text)};
    struct msghdr message = {
        .msg_name = &address, .msg_namelen = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path)),
        .msg_iov = &bytes, .msg_iovlen = 1};
    if (count > 0) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
        memcpy(CMSG_DATA(&control.header), fds, (size_t)count * sizeof(int));
    }
    check(sendmsg(sock, &message, 0) >= 0, "sendmsg to systemd");
}

// Returns when systemd has read everything that was sent before.
static void barrier(void) {
    int ends[2];
    char byte;
    check(pipe(ends) == 0, "pipe");
    notify("BARRIER=1", &ends[1], 1);
    close(ends[1]);
    check(read(ends[0], &byte, 1) == 0, "the end of the barrier");
    close(ends[0]);
}

static int make_file(size_t bytes, unsigned flags) {
    int fd = memfd_create("bench", MFD_CLOEXEC | flags);
    check(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0, "memfd_create");
    return fd;
}

static void make_and_store(int count) {
    int *fds = calloc((size_t)count, sizeof *fds);
    check(fds != NULL, "calloc");
    for (int i = 0; i < count; i++) {
        uint64_t word = 1;
        fds[i] = make_file(4096, 0);
        check(pwrite(fds[i], &word, sizeof word, 0) == sizeof word, "pwrite");
    }
    uint64_t start = now();
    for (int sent = 0; sent < count;) {
        int some = count - sent < MOST_IN_A_MESSAGE ? count - sent : MOST_IN_A_MESSAGE;
        notify("FDSTORE=1\nFDNAME=bench", fds + sent, some);
        sent += some;
    }
    barrier();
    record("%llu ", (unsigned long long)(now() - start));
    for (int i = 0; i < count; i++) close(fds[i]);
    free(fds);
}

static int store(int count) {
    signal(SIGTERM, on_term);
    const char *got = getenv("LISTEN_FDS");
    if (got == NULL) {
        make_and_store(count);
    } else {
        check(atoi(got) == count, "as many descriptors as were stored");
        for (int i = 0; i < count; i++) check_word(3 + i);
        record("%llu\n", (unsigned long long)now());
        signal(SIGTERM, SIG_DFL);
    }
    notify("READY=1", NULL, 0);
    for (;;) pause();
}

static int hold(size_t bytes, int is_huge) {
    check(syscall(SYS_close_range, 3, ~0U, 0) == 0, "close_range");
    int fd = make_file(bytes, is_huge ? MFD_HUGETLB | 21U << 26 : 0);
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    check(memory != MAP_FAILED, "mmap");
    for (size_t at = 0; at < bytes; at += 4096) *(uint64_t *)(memory + at) = at + 1;
    setsid();
    puts("ready");
    fflush(stdout);
    int nothing = open("/dev/null", O_RDWR);
    for (int i = 0; i < 3; i++) dup2(nothing, i);
    if (nothing > 2) close(nothing);
    for (;;) pause();
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "store") == 0) return result_path = argv[3], store(atoi(argv[2]));
    if (argc == 4 && strcmp(argv[1], "hold") == 0)
        return hold(strtoull(argv[2], NULL, 10), strcmp(argv[3], "huge") == 0);
    return fputs("usage: service store COUNT RESULT, or hold BYTES huge|ordinary\n", stderr), 64;
}

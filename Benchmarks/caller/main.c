// SPDX-License-Identifier: Apache-2.0

// caller: a program that uses the interface of /dev/liveupdate, to be measured under `luoctl run`.
//
// For every line on standard input it prints the nanoseconds of one open of a file that is not /dev/liveupdate. If it
// has an argument (any argument), it also prints the nanoseconds of one GET_NAME and of one PRESERVE_FD.
#include "floor.h"

#include <sys/ioctl.h>

enum { CREATE_SESSION = 0xBA00, PRESERVE_FD = 0xBA40, GET_NAME = 0xBA43, CALLS = 20 };

static uint64_t foreign_open(void) {
    uint64_t start = now();
    for (int call = 0; call < CALLS; call++) {
        int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
        check(file >= 0, "/dev/null");
        close(file);
    }
    return (now() - start) / CALLS;
}

static int create_session(int device) {
    struct {
        uint32_t size;
        int32_t fd;
        char name[64];
    } call = {sizeof call, -1, "bench"};
    check(ioctl(device, CREATE_SESSION, &call) == 0, "CREATE_SESSION");
    return call.fd;
}

static uint64_t get_name(int session) {
    uint64_t start = now();
    for (int call = 0; call < CALLS; call++) {
        struct {
            uint32_t size, reserved;
            char name[64];
        } call = {sizeof call, 0, ""};
        check(ioctl(session, GET_NAME, &call) == 0, "GET_NAME");
    }
    return (now() - start) / CALLS;
}

static uint64_t preserve(int session) {
    int files[CALLS];
    for (int index = 0; index < CALLS; index++) {
        files[index] = memfd_create("luoctl-bench", MFD_CLOEXEC);
        check(files[index] >= 0 && write(files[index], "x", 1) == 1, "memfd_create");
    }
    uint64_t start = now();
    for (int index = 0; index < CALLS; index++) {
        struct {
            uint32_t size;
            int32_t fd;
            uint64_t token;
        } call = {sizeof call, files[index], (uint64_t)index};
        check(ioctl(session, PRESERVE_FD, &call) == 0, "PRESERVE_FD");
    }
    uint64_t took = (now() - start) / CALLS;
    for (int index = 0; index < CALLS; index++) close(files[index]);
    return took;
}

int main(int argc, char **argv) {
    (void)argv;
    char line[64];
    int device = argc > 1 ? open("/dev/liveupdate", O_RDWR | O_CLOEXEC) : -1;
    check(argc == 1 || device >= 0, "/dev/liveupdate");
    while (fgets(line, sizeof line, stdin)) {
        printf("%llu", (unsigned long long)foreign_open());
        if (argc > 1) {
            int session = create_session(device);
            printf(" %llu", (unsigned long long)get_name(session));
            printf(" %llu", (unsigned long long)preserve(session));
            close(session);
        }
        printf("\n");
        fflush(stdout);
    }
    return 0;
}

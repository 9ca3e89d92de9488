// SPDX-License-Identifier: Apache-2.0

// Working calls: sessions and files, also over an update.
#include "probe.h"

void life(void) {
    int dev = OK(device());
    IS(fcntl(dev, F_GETFD) == FD_CLOEXEC);
    int s = OK(create(dev, "life"));
    IS(fcntl(s, F_GETFD) == FD_CLOEXEC);
    struct name named = {.size = sizeof named};
    OK(ioctl(s, GET_NAME, &named));
    IS(strcmp((char *)named.name, "life") == 0);
    int fd = memory("kept");
    OK(preserve(s, fd, 7));
    FAILS(EBUSY, preserve(s, fd, 8));
    OK(close(s));
    // The last close takes effect at once.
    s = OK(create(dev, "life"));
    OK(preserve(s, fd, 7));
    OK(close(s));
    OK(close(dev));
    dev = OK(open(DEVICE, O_RDWR));
    IS(fcntl(dev, F_GETFD) == 0);
    for (int round = 0; round < 200; round++) {
        OK(close(OK(create(dev, "again"))));
        OK(close(dev));
        dev = OK(device());
    }
}

// With an argument, also preserves files of each kind, which needs a huge page of 2 MiB.
void first_stage(const char *kinds) {
    int dev = OK(device());
    int s = OK(create(dev, "stages"));
    int fd = memory("over the update");
    OK(preserve(s, fd, 1));
    if (*kinds) preserve_kinds(s);
    // The program becomes a daemon that holds the session.
    if (OK(fork()) > 0) _exit(0);
    OK(setsid());
    sigset_t wake;
    sigemptyset(&wake);
    sigaddset(&wake, SIGUSR1);
    sigprocmask(SIG_BLOCK, &wake, NULL);
    printf("daemon %d\n", getpid());
    fflush(stdout);
    int number;
    sigwait(&wake, &number);
    // The session's boot has ended, and this check comes before all others.
    FAILS(ENODEV, preserve(s, fd, 2));
    FAILS(ENODEV, ioctl(s, PRESERVE_FD, NULL));
    FAILS(ENODEV, ioctl(s, _IO(0xBA, 0xFF), NULL));
    FAILS(ENODEV, create(dev, "other"));
    printf("ok\n");
    fflush(stdout);
    sigwait(&wake, &number);
    _exit(0);
}

void second_stage(const char *kinds) {
    int dev = OK(device());
    FAILS(ENOENT, session(dev, RETRIEVE_SESSION, "none"));
    int s = OK(session(dev, RETRIEVE_SESSION, "stages"));
    FAILS(EINVAL, session(dev, RETRIEVE_SESSION, "stages"));
    FAILS(EINVAL, preserve(s, s, 1));
    if (*kinds) find_kinds(s);
    FAILS(ENOENT, retrieve(s, 1000));
    int fd = OK(retrieve(s, 1));
    IS(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    char content[16] = "";
    OK(pread(fd, content, 15, 4096));
    IS(strcmp(content, "over the update") == 0);
    IS(same(fd, OK(retrieve(s, 1))));
    OK(finish(s));
    OK(finish(s));
    OK(close(s));
    FAILS(ENOENT, session(dev, RETRIEVE_SESSION, "stages"));
}

// SPDX-License-Identifier: Apache-2.0

// Access to the device: permissions and paths.
#include "probe.h"

void opens(void) {
    int dev = OK(device());
    FAILS(EBUSY, device());
    int other = OK(dup(dev));
    OK(close(dev));
    FAILS(EBUSY, device());
    // A child shares the device, and the device is closed only after the child has ended, too.
    int ready[2];
    OK(pipe(ready));
    pid_t child = OK(fork());
    if (child == 0) {
        OK(create(other, "of a child"));
        OK(write(ready[1], "", 1));
        pause();
    }
    char byte;
    IS(read(ready[0], &byte, 1) == 1);
    OK(close(other));
    FAILS(EBUSY, device());
    OK(kill(child, SIGKILL));
    OK(waitpid(child, NULL, 0));
    dev = OK(device());
    OK(create(dev, "of a child"));
    FAILS(EBUSY, creat(DEVICE, 0600));
    OK(close(dev));
    dev = OK((int)syscall(SYS_creat, DEVICE, 0600));
    OK(create(dev, "of creat"));
    OK(close(dev));
    FAILS(EEXIST, open(DEVICE, O_RDWR | O_CREAT | O_EXCL, 0600));
    FAILS(ENOTDIR, open(DEVICE, O_RDONLY | O_DIRECTORY));
    // One descriptor is closed on exec, and one is not.
    dev = OK(open(DEVICE, O_RDWR));
    child = OK(fork());
    if (child == 0) {
        char number[16];
        snprintf(number, sizeof number, "%d", dev);
        execl("/proc/self/exe", "probe", "inherited", number, NULL);
        _exit(2);
    }
    int status;
    OK(waitpid(child, &status, 0));
    IS(status == 0);
}

void inherited(const char *number) {
    int dev = atoi(number);
    OK(create(dev, "inherited"));
    FAILS(EBUSY, device());
}

void paths(const char *directory) {
    OK(chdir(directory));
    const char *same[] = {"/dev/../dev/./liveupdate", "//dev//liveupdate", "link", "./link", "far", "dev/liveupdate"};
    OK(symlink("/dev/liveupdate", "link"));
    OK(symlink("link", "far"));
    OK(symlink("/dev", "dev"));
    for (size_t index = 0; index < sizeof same / sizeof *same; index++) {
        int fd = OK(open(same[index], O_RDWR));
        FAILS(EBUSY, open(same[index], O_RDWR));
        OK(close(fd));
    }
    int dev = OK(open("/dev", O_RDONLY | O_DIRECTORY));
    int fd = OK(openat(dev, "liveupdate", O_RDWR | O_CLOEXEC));
    IS(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    OK(close(fd));
    struct open_how how = {.flags = O_RDWR | O_CLOEXEC};
    fd = OK(syscall(SYS_openat2, dev, "liveupdate", &how, sizeof how));
    OK(close(fd));
    // Wrong arguments are found before the path is looked up.
    how.mode = 0600;
    FAILS(EINVAL, syscall(SYS_openat2, dev, "liveupdate", &how, sizeof how));
    how = (struct open_how){.flags = O_RDWR | 1ULL << 40};
    FAILS(EINVAL, syscall(SYS_openat2, dev, "liveupdate", &how, sizeof how));
    // The device is not a directory.
    FAILS(ENOTDIR, open("/dev/liveupdate/", O_RDWR));
    FAILS(ENOTDIR, open("link//", O_RDWR));
    FAILS(EISDIR, open("/dev/liveupdate/", O_RDWR | O_CREAT, 0600));
    OK(chdir("/dev"));
    OK(close(OK(open("liveupdate", O_RDWR))));
    OK(chdir(directory));
    FAILS(ELOOP, open("link", O_RDWR | O_NOFOLLOW));
    // These paths name other files, or no file.
    FAILS(ENOENT, open("liveupdate", O_RDWR));
    OK(close(OK(open("liveupdate", O_RDWR | O_CREAT, 0600))));
    FAILS(ENOENT, open("", O_RDWR));
    FAILS(EFAULT, open((char *)1, O_RDWR));
    FAILS(EBADF, openat(12345, "liveupdate", O_RDWR));
    OK(symlink("loop", "loop"));
    FAILS(ELOOP, open("loop", O_RDWR));
    OK(unlink("liveupdate"));
    const char *made[] = {"link", "far", "dev", "loop"};
    for (size_t index = 0; index < sizeof made / sizeof *made; index++) OK(unlink(made[index]));
}

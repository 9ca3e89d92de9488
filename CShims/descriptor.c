// SPDX-License-Identifier: Apache-2.0
#include "CLiveUpdate.h"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

int cshims_fcntl(int fd, int command, long argument) { return fcntl(fd, command, argument); }

int cshims_close_range_on_exec(unsigned int first, unsigned int last) {
    return (int)syscall(SYS_close_range, first, last, CLOSE_RANGE_CLOEXEC);
}

int cshims_find_file(const char *path) { return open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC); }

int cshims_find_file_behind(const char *path) { return open(path, O_PATH | O_CLOEXEC); }

int cshims_find_beneath(int directory, const char *path, int enters_mounts) {
    struct open_how how = {
        .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | (enters_mounts ? 0 : RESOLVE_NO_XDEV),
    };
    return (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
}

int cshims_make_file_without_name(const char *directory) {
    return open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

int cshims_copy_to(int fd, int number) { return dup3(fd, number, O_CLOEXEC); }

// Makes a call about a write lock on the whole file.
static int lock(int fd, int command, struct flock *lock) {
    *lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fd, command, lock);
}

int cshims_process_lock(int fd) { return lock(fd, F_SETLK, &(struct flock){0}); }

int cshims_process_that_locks(int fd, pid_t *process) {
    struct flock found;
    int result = lock(fd, F_GETLK, &found);
    *process = found.l_type == F_UNLCK ? 0 : found.l_pid;
    return result;
}

int cshims_ofd_lock(int fd) { return lock(fd, F_OFD_SETLK, &(struct flock){0}); }

int cshims_ofd_unlock(int fd) {
    return fcntl(fd, F_OFD_SETLK, &(struct flock){.l_type = F_UNLCK, .l_whence = SEEK_SET});
}

int cshims_ofd_lock_of_others(int fd, short *type) {
    struct flock found;
    int result = lock(fd, F_OFD_GETLK, &found);
    *type = found.l_type;
    return result;
}

int cshims_is_same_description(int first, int second) {
    pid_t own = getpid();
    return syscall(SYS_kcmp, own, own, KCMP_FILE, first, second) == 0;
}

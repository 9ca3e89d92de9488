// The only C of this project: what Swift cannot call by itself.
//
// Each function says why it must be C, and returns what libc returned, unchanged.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <linux/memfd.h>
#include <sys/types.h>

// memory_file.c: memfd_create(2) and the seals are behind _GNU_SOURCE, which Swift's Glibc module does not define.
int cshims_memfd_create(const char *name, unsigned int flags);
int cshims_get_seals(int fd);
int cshims_add_seals(int fd, int seals);
int cshims_fallocate(int fd, off_t offset, off_t length);
int cshims_punch_hole(int fd, off_t offset, off_t length);
// mlock2(2) is behind _GNU_SOURCE, too.
int cshims_lock_on_fault(const void *start, size_t length);
// fstatfs(2), statfs(2): their struct has members of types that Swift's module does not export.
int cshims_filesystem(int fd, int64_t *type, int64_t *block_size);
int cshims_filesystem_at(const char *path, int64_t *type, int64_t *block_size);

// descriptor.c: fcntl(2) is variadic, and the OFD locks, O_PATH and O_TMPFILE are behind _GNU_SOURCE.
int cshims_fcntl(int fd, int command, long argument);
// close_range(2) has no wrapper in all glibcs.
int cshims_close_range_on_exec(unsigned int first, unsigned int last);
int cshims_ofd_lock(int fd);
// *type: F_UNLCK when nobody else holds a lock.
int cshims_ofd_lock_of_others(int fd, short *type);
int cshims_find_file(const char *path);
int cshims_find_file_behind(const char *path);
int cshims_make_file_without_name(const char *directory);

// signals.c: Swift's Glibc module does not have signalfd(2).
int cshims_signalfd(const int *numbers, size_t count);

// process.c: pidfd_getfd(2), pidfd_open(2) and pidfd_send_signal(2) have no wrappers in all glibcs; prctl(2) is variadic.
int cshims_no_new_privileges(void);
int cshims_pidfd_open(pid_t process);
int cshims_pidfd_getfd(int pidfd, int fd);
// sched_setaffinity(2) and the macros of its sets are behind _GNU_SOURCE.
int cshims_run_on(int processor);
// 1 or 0: whether the calling thread may.
int cshims_may_run_on(int processor);

int cshims_pidfd_send_signal(int pidfd, int number);

// socket.c: the macros of cmsg(3) have no Swift counterpart, struct ucred and accept4(2) are behind _GNU_SOURCE.
// No more than this many descriptors go in one message: unix(7) allows 253, and some libcs one fewer.
#define CSHIMS_MOST_DESCRIPTORS 252
ssize_t cshims_send(int fd, const void *bytes, size_t count, const int *descriptors, size_t number);
// descriptors: room for CSHIMS_MOST_DESCRIPTORS. *truncated: something did not fit, or RLIMIT_NOFILE was reached.
ssize_t cshims_receive(int fd, void *bytes, size_t count, int *descriptors, size_t *number, int *truncated, int flags);
// Takes the next message out of the queue unseen.
ssize_t cshims_discard(int fd);
int cshims_peer(int fd, pid_t *process, uid_t *user);
int cshims_accept(int fd);

// device.c: ioctl(2) is variadic.
int cshims_ioctl(int fd, unsigned long command, void *argument);

// errno.c: strerrorname_np(3) is behind _GNU_SOURCE. NULL for a number that is none.
const char *cshims_errno_name(int number);

// poller.c: Swift's Glibc module does not have epoll(7), and its event has a union.
struct cshims_event {
    int fd;
    int readable, writable, ended;
};
int cshims_epoll_create(void);
// change: 0 add, 1 change, 2 remove
int cshims_epoll_control(int poller, int fd, int change, int reading, int writing);
// At most 1024 at a time.
int cshims_epoll_wait(int poller, struct cshims_event *found, int room, int milliseconds);

// userfault.c: ioctl(2) is variadic, userfaultfd(2) has no wrapper in glibc.
int cshims_userfaultfd(void);
int cshims_userfault_api(int fd);
int cshims_userfault_register_minor(int fd, uint64_t address, uint64_t length);
// *mapped: bytes that were mapped, also when it stopped early (-1, EAGAIN); a negative errno when there were none.
int cshims_userfault_continue(int fd, uint64_t address, uint64_t length, int64_t *mapped);

// crc32c.c: the CRC32 instructions have no Swift counterpart on Linux.
uint32_t cshims_crc32c(uint32_t crc, const void *bytes, size_t count);

// fault.c: a thread-local variable, which Swift does not have. See FaultInjector.swift.
void cshims_fault_arm(long after, int error, int sticky);
long cshims_fault_disarm(void);
int cshims_fault(void);

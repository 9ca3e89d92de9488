// SPDX-License-Identifier: Apache-2.0

// The only C code of this project: functions that Swift cannot call or write itself.
//
// Each function says why it must be C, and returns the result of libc unchanged.
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

// statx(2) is behind _GNU_SOURCE. These fields come from the kernel's cache, so the file system's server is not asked.
struct cshims_status {
    uint64_t device, inode, size, links, blocks, of_device;
    uint32_t mode, user, group;
    int is_dax;
};
int cshims_cached_status(int fd, struct cshims_status *status);

// descriptor.c: fcntl(2) is variadic, and the OFD locks, O_PATH and O_TMPFILE are behind _GNU_SOURCE.
int cshims_fcntl(int fd, int command, long argument);
// close_range(2) has no wrapper in all glibcs.
int cshims_close_range_on_exec(unsigned int first, unsigned int last);
int cshims_copy_to(int fd, int number);
// kcmp(2) has no wrapper. Returns 1 when both descriptors share an open file description, and 0 when they do not or the
// kernel does not say.
int cshims_is_same_description(int first, int second);
int cshims_process_lock(int fd);
// *process: 0 when no process holds the lock.
int cshims_process_that_locks(int fd, pid_t *process);
int cshims_ofd_lock(int fd);
int cshims_ofd_unlock(int fd);
// *type: F_UNLCK when no other open file description holds a lock.
int cshims_ofd_lock_of_others(int fd, short *type);
int cshims_find_file(const char *path);
int cshims_find_file_behind(const char *path);
// openat2(2) has no wrapper in glibc. Fails with ELOOP for a symbolic link, and with EXDEV for another mount unless
// enters_mounts is set.
int cshims_find_beneath(int directory, const char *path, int enters_mounts);
int cshims_make_file_without_name(const char *directory);

// signals.c: Swift's Glibc module does not have signalfd(2).
int cshims_signalfd(const int *numbers, size_t count);
// Whether the signal is ignored. SIG_IGN is a macro with a cast.
int cshims_is_ignored(int number);

// process.c: pidfd_getfd(2), pidfd_open(2) and pidfd_send_signal(2) have no wrappers in some glibcs; prctl(2) is
// variadic.
int cshims_no_new_privileges(void);
// Swift does not see stdout and stderr as safe to use. Errors are ignored.
void cshims_flush_output(void);
int cshims_pidfd_open(pid_t process);
int cshims_pidfd_getfd(int pidfd, int fd);
// pidfd_open(2) of a thread, with PIDFD_THREAD, since Linux 6.9.
int cshims_pidfd_open_thread(pid_t thread);
// process_vm_readv(2) is behind _GNU_SOURCE. Returns how many bytes were copied: fewer than `count` when the rest
// cannot be reached, at most 64 KiB.
ssize_t cshims_read_memory(pid_t thread, uint64_t address, void *into, size_t count);
// PROCMAP_QUERY of /proc/PID/maps. Returns the end of the writable mapping at an address, 0 when there is no such
// mapping, and UINT64_MAX when the kernel does not know this request.
uint64_t cshims_writable_until(int maps, uint64_t address);
// sched_setaffinity(2) and the macros of its sets are behind _GNU_SOURCE.
int cshims_run_on(const int *processors, size_t count);
// Whether the calling thread may run on a processor: 1 or 0.
int cshims_may_run_on(int processor);

int cshims_pidfd_send_signal(int pidfd, int number);
// clone(2) with a shared descriptor table has no Swift counterpart, and its child may call almost nothing. Starts a
// program that gets the standard descriptors, and `inherited` under the number `number`. The child copies no descriptor
// from the number `end` on, so it closes none of them when it becomes the program. The kernel copies whole words of the
// table's bits, so `end` must be a multiple of 64. Fails with ENOSYS or EINVAL before Linux 5.9.
pid_t cshims_spawn(
    const char *path, char *const arguments[], char *const environment[], int inherited, int number, int end);
// fork(2) is not in Swift's Glibc module. The program is no child of this process, and has no terminal. It gets two
// descriptors: `input` as standard input, and `output` as standard output and error. Returns -1 only when no process
// could be started.
int cshims_start_apart(const char *path, char *const arguments[], char *const environment[], int input, int output);

// socket.c: the macros of cmsg(3) have no Swift counterpart; struct ucred and accept4(2) are behind _GNU_SOURCE. One
// message carries at most this many descriptors: unix(7) allows 253, and some libcs one fewer.
#define CSHIMS_MOST_DESCRIPTORS 252
#define CSHIMS_MOST_RECEIVED 253
#define CSHIMS_LACKS_DESCRIPTORS 2
ssize_t cshims_send(int fd, const void *bytes, size_t count, const int *descriptors, size_t number);
// descriptors: has room for CSHIMS_MOST_RECEIVED. *truncated: 1 when bytes did not fit, or there are more descriptors
// than CSHIMS_MOST_DESCRIPTORS; CSHIMS_LACKS_DESCRIPTORS when a descriptor could not be opened here, as at
// RLIMIT_NOFILE.
ssize_t cshims_receive(int fd, void *bytes, size_t count, int *descriptors, size_t *number, int *truncated, int flags);
// Removes the next message from the queue without reading it.
ssize_t cshims_discard(int fd);
int cshims_peer(int fd, pid_t *process, uid_t *user);
int cshims_accept(int fd);
// Whether a message is in the queue. The message stays there, and its descriptors are not installed. Sets SO_PASSCRED.
int cshims_has_message(int fd);
// Whether the descriptor is a socket of AF_UNIX and SOCK_SEQPACKET.
int cshims_is_message_socket(int fd);
// getsockname(2), or getpeername(2) for the peer: Swift cannot take the address of a name of unknown length. Returns
// the length of the name, 0 for a socket without a name or of another family, -1 on failure.
ssize_t cshims_socket_name(int fd, int peer, unsigned char *name, size_t room);
int cshims_socket_cookie(int fd, uint64_t *cookie);

// device.c: ioctl(2) is variadic.
int cshims_ioctl(int fd, unsigned long command, void *argument);

// kexec.c: kexec_file_load(2) has no wrapper in glibc, and Swift's Glibc module does not have sys/reboot.h.
// initrd: -1 for none.
long cshims_kexec_load(int kernel, int initrd, const char *command_line);
long cshims_kexec_unload(void);
// reboot(2) with LINUX_REBOOT_CMD_KEXEC. Returns only when it fails.
int cshims_kexec(void);

// errno.c: strerrorname_np(3) is behind _GNU_SOURCE. Returns NULL for a number that is no error.
const char *cshims_errno_name(int number);

// poller.c: Swift's Glibc module does not have epoll(7), and its event has a union.
struct cshims_event {
    int fd;
    int readable, writable, ended;
};
int cshims_epoll_create(void);
// change: 0 add, 1 change, 2 remove
// once: report an event for each change of the state, not for as long as the state lasts.
int cshims_epoll_control(int poller, int fd, int change, int reading, int writing, int once);
// Returns at most 1024 events.
int cshims_epoll_wait(int poller, struct cshims_event *found, int room, int milliseconds);

// timer.c: timerfd_create(2), with CLOCK_MONOTONIC. Glibc's module does not have its header.
int cshims_timer_create(void);
// milliseconds: the time at which the timer becomes readable; 0 stops it.
int cshims_timer_set(int timer, uint64_t milliseconds);

// userfault.c: ioctl(2) is variadic, and userfaultfd(2) has no wrapper in glibc.
int cshims_userfaultfd(void);
int cshims_userfault_api(int fd);
int cshims_userfault_register_minor(int fd, uint64_t address, uint64_t length);
// *mapped: the bytes that were mapped, also when the call stopped early (-1, EAGAIN); a negative errno when no byte was
// mapped.
int cshims_userfault_continue(int fd, uint64_t address, uint64_t length, int64_t *mapped);
// Maps one place after another, every `stride` pages, until a place has a page that was not mapped before. It is in C
// because a file may have millions of places, and each takes less time in the kernel than an error takes in Swift.
// Returns -1 when a call fails for another reason than a hole.
struct cshims_search {
    uint64_t next, end, stride;  // in huge pages of the file: the first place, behind the last, and how far they are apart
    uint64_t looked;             // how many places were looked at
    uint64_t found, pages;       // the place that has a page, and how many pages were mapped from there on; 0 pages: none
};
int cshims_userfault_search(
    int fd, uint64_t address, uint64_t page_size, uint64_t end_of_file, uint64_t limit, struct cshims_search *search);

// seccomp.c: seccomp(2) has no wrapper, and its structs and requests are not in Swift's Glibc module.
struct cshims_notification {
    uint64_t id;
    uint32_t thread, flags;
    int32_t number;
    uint32_t architecture;
    uint64_t instruction, arguments[6];
};
enum {
    CSHIMS_NOTIFIED_OTHER,
    CSHIMS_NOTIFIED_OPEN,
    CSHIMS_NOTIFIED_OPENAT,
    CSHIMS_NOTIFIED_OPENAT2,
    CSHIMS_NOTIFIED_IOCTL,
    CSHIMS_NOTIFIED_CREAT,
};
// Installs a filter, and returns its listener.
int cshims_seccomp_listen(const void *instructions, size_t count);
// Waits for a call. Returns 1 when there is one, and 0 when no process is left that the filter applies to.
int cshims_notification_wait(int listener);
// Waits for a call or for the socket. Returns 2 when the socket has something to read or has ended, otherwise as above.
int cshims_notification_wait_or(int listener, int socket);
int cshims_notification_receive(int listener, struct cshims_notification *into);
int cshims_notification_answer(int listener, uint64_t id, int64_t value, int error);
int cshims_notification_continue(int listener, uint64_t id);
int cshims_notification_is_valid(int listener, uint64_t id);
// Returns the number of the descriptor in the calling process.
int cshims_notification_give(int listener, uint64_t id, int fd, int close_on_exec);
int cshims_notification_wake_here(int listener);
int cshims_notified_call(const struct cshims_notification *notification);

// crc32c.c: the CRC32 instructions have no Swift counterpart on Linux.
uint32_t cshims_crc32c(uint32_t crc, const void *bytes, size_t count);

// fault.c: it needs a thread-local variable, which Swift does not have. Debug builds only: see FaultInjector.
void cshims_fault_arm(long after, int error, int sticky);
long cshims_fault_disarm(void);
int cshims_fault(void);

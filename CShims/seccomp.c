// SPDX-License-Identifier: Apache-2.0
#include "CLiveUpdate.h"
#include "seccomp_since.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <poll.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert(sizeof(struct cshims_notification) == sizeof(struct seccomp_notif), "the kernel's struct");
_Static_assert(offsetof(struct cshims_notification, arguments) == offsetof(struct seccomp_notif, data.args), "as above");

int cshims_seccomp_listen(const void *instructions, size_t count) {
    struct sock_fprog program = {.len = (unsigned short)count, .filter = (struct sock_filter *)instructions};
    unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
    int listener =
        (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &program);
    if (listener == -1 && errno == EINVAL)
        listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    return listener;
}

int cshims_notification_wait(int listener) {
    struct pollfd waited = {.fd = listener, .events = POLLIN};
    int found = poll(&waited, 1, -1);
    if (found <= 0) return found;
    return (waited.revents & POLLIN) != 0 ? 1 : 0;
}

int cshims_notification_wait_or(int listener, int socket) {
    struct pollfd waited[] = {{.fd = socket, .events = POLLIN}, {.fd = listener, .events = POLLIN}};
    if (poll(waited, 2, -1) < 0) return -1;
    if (waited[0].revents != 0) return 2;
    return (waited[1].revents & POLLIN) != 0 ? 1 : 0;
}

int cshims_notification_receive(int listener, struct cshims_notification *into) {
    return ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, into);
}

int cshims_notification_answer(int listener, uint64_t id, int64_t value, int error) {
    struct seccomp_notif_resp response = {.id = id, .val = value, .error = error};
    return ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

int cshims_notification_continue(int listener, uint64_t id) {
    struct seccomp_notif_resp response = {.id = id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
    return ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

int cshims_notification_is_valid(int listener, uint64_t id) {
    return ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id);
}

int cshims_notification_give(int listener, uint64_t id, int fd, int close_on_exec) {
    struct seccomp_notif_addfd given = {
        .id = id, .srcfd = (unsigned int)fd, .newfd_flags = close_on_exec ? O_CLOEXEC : 0};
    return ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &given);
}

int cshims_notification_wake_here(int listener) {
    return ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, (unsigned long)SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
}

int cshims_notified_call(const struct cshims_notification *notification) {
#if defined(__x86_64__)
    if (notification->architecture != AUDIT_ARCH_X86_64) return CSHIMS_NOTIFIED_OTHER;
#elif defined(__aarch64__)
    if (notification->architecture != AUDIT_ARCH_AARCH64) return CSHIMS_NOTIFIED_OTHER;
#endif
    switch (notification->number) {
#ifdef SYS_open
    case SYS_open: return CSHIMS_NOTIFIED_OPEN;
#endif
#ifdef SYS_creat
    case SYS_creat: return CSHIMS_NOTIFIED_CREAT;
#endif
    case SYS_openat: return CSHIMS_NOTIFIED_OPENAT;
    case 437: return CSHIMS_NOTIFIED_OPENAT2;
    case SYS_ioctl: return CSHIMS_NOTIFIED_IOCTL;
    default: return CSHIMS_NOTIFIED_OTHER;
    }
}

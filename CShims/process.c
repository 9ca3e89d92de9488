#include "CShims.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

int cshims_pidfd_open(pid_t process) { return (int)syscall(SYS_pidfd_open, process, 0); }

int cshims_pidfd_getfd(int pidfd, int fd) { return (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0); }

int cshims_pidfd_send_signal(int pidfd, int number) {
    return (int)syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0);
}

int cshims_no_new_privileges(void) { return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); }

int cshims_run_on(const int *processors, size_t count) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (size_t index = 0; index < count; index++) CPU_SET(processors[index], &set);
    return sched_setaffinity(0, sizeof set, &set);
}

int cshims_may_run_on(int processor) {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 && processor < CPU_SETSIZE && CPU_ISSET(processor, &set);
}

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif

int cshims_pidfd_open_thread(pid_t thread) { return (int)syscall(SYS_pidfd_open, thread, PIDFD_THREAD); }

#define PARTS 17
#define PAGE 4096

// Each page is a part of its own: a copy ends before the part that cannot be reached.
static unsigned long pages(struct iovec parts[PARTS], uint64_t address, size_t count) {
    unsigned long number = 0;
    while (count > 0 && number < PARTS) {
        size_t here = PAGE - address % PAGE;
        if (here > count) here = count;
        parts[number++] = (struct iovec){.iov_base = (void *)(uintptr_t)address, .iov_len = here};
        address += here;
        count -= here;
    }
    return number;
}

ssize_t cshims_read_memory(pid_t thread, uint64_t address, void *into, size_t count) {
    struct iovec here = {.iov_base = into, .iov_len = count};
    struct iovec there[PARTS];
    return process_vm_readv(thread, &here, 1, there, pages(there, address, count), 0);
}

// Since Linux 6.11; headers may be older.
#ifndef PROCMAP_QUERY
enum { PROCMAP_QUERY_VMA_WRITABLE = 2 };
struct procmap_query {
    uint64_t size, query_flags, query_addr;
    uint64_t vma_start, vma_end, vma_flags, vma_page_size, vma_offset, inode;
    uint32_t dev_major, dev_minor, vma_name_size, build_id_size;
    uint64_t vma_name_addr, build_id_addr;
};
#define PROCMAP_QUERY _IOWR('f', 17, struct procmap_query)
#endif

uint64_t cshims_writable_until(int maps, uint64_t address) {
    struct procmap_query query = {
        .size = sizeof query, .query_flags = PROCMAP_QUERY_VMA_WRITABLE, .query_addr = address};
    if (ioctl(maps, PROCMAP_QUERY, &query) == 0) return query.vma_end;
    return errno == ENOTTY || errno == EINVAL ? UINT64_MAX : 0;
}

int cshims_start_apart(const char *path, char *const arguments[], char *const environment[], int input, int output) {
    pid_t child = fork();
    if (child == -1) return -1;
    if (child > 0) {
        int status;
        while (waitpid(child, &status, 0) == -1 && errno == EINTR) {}
        return 0;
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();
    if (fork() != 0) _exit(0);
    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    syscall(SYS_close_range, 3, ~0U, 0);
    execve(path, arguments, environment);
    _exit(127);
}

// SPDX-License-Identifier: Apache-2.0
#include "CLiveUpdate.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
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

void cshims_flush_output(void) {
    fflush(stdout);
    fflush(stderr);
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

// Makes a separate part of each page, so that a copy ends before the first page that cannot be reached.
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

// PROCMAP_QUERY came with Linux 6.11, and headers may be older.
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

#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE (1U << 1)
#endif

struct spawned {
    const char *path;
    char *const *arguments, *const *environment;
    int inherited, number, end, error;
};

// Runs in the memory of the caller, which waits, and uses the caller's descriptor table until close_range(2) copies it.
// It makes system calls directly, because a sanitizer would take libc functions here for calls of the caller.
__attribute__((no_sanitize("thread", "address"))) static int become_program(void *argument) {
    struct spawned *program = argument;
    int inherited = program->inherited, number = program->number;
    // The kernel copies only the part below `end`: descriptors from there on are neither copied nor closed.
    if (syscall(SYS_close_range, (unsigned)program->end, ~0U, CLOSE_RANGE_UNSHARE) == -1) goto failed;
    // dup3(2) onto the same number would fail, so close-on-exec is cleared instead.
    long copied = inherited == number ? syscall(SYS_fcntl, number, F_SETFD, 0) : syscall(SYS_dup3, inherited, number, 0);
    if (copied == -1) goto failed;
    // No signal handler of the caller may run in its memory here. The handler is the first word of the kernel's struct,
    // and a struct of zeros means SIG_DFL.
    for (int signal = 1; signal < NSIG; signal++) {
        unsigned long now[8] = {0}, none[8] = {0};
        if (syscall(SYS_rt_sigaction, signal, NULL, now, NSIG / 8) == -1) continue;
        if (now[0] > (unsigned long)SIG_IGN) syscall(SYS_rt_sigaction, signal, none, NULL, NSIG / 8);
    }
    unsigned long unblocked[2] = {0};
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, unblocked, NULL, NSIG / 8);
    syscall(SYS_execve, program->path, program->arguments, program->environment);
failed:
    program->error = errno;
    syscall(SYS_exit_group, 127);
    return 127;
}

#define STACK (64 * 1024)

pid_t cshims_spawn(
    const char *path, char *const arguments[], char *const environment[], int inherited, int number, int end) {
    struct spawned program = {path, arguments, environment, inherited, number, end, 0};
    char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED) return -1;
    sigset_t all, own;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &own);
    // clone(2) returns when the program runs or could not be started.
    pid_t child = clone(become_program, stack + STACK, CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD, &program);
    int error = child == -1 ? errno : program.error;
    pthread_sigmask(SIG_SETMASK, &own, NULL);
    munmap(stack, STACK);
    if (error == 0) return child;
    while (child != -1 && waitpid(child, NULL, 0) == -1 && errno == EINTR) {}
    errno = error;
    return -1;
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

// A FUSE file system with one regular file, "file". Its server answers only INIT, LOOKUP and OPEN.
//
// In C, because the server is a fork of a process with many threads: it may only make system calls.
#pragma once
#include <stdint.h>
#include <sys/types.h>

struct stuck_file_system {
    // The server. The file is /proc/PROCESS/root/tmp/file: the mount is in the server's own mount namespace.
    pid_t process;
    // Requests that came, by the numbers of enum fuse_opcode; written by the server.
    volatile uint32_t *requests;
};

// 0, or an errno: ENOENT without /dev/fuse, EPERM or EACCES without the right to mount.
int stuck_file_system_start(struct stuck_file_system *system);

// Ends the server, and thereby all waiting: each request fails with ECONNABORTED. No mount is left.
void stuck_file_system_end(struct stuck_file_system *system);

// Releases the counters of an ended server.
void stuck_file_system_forget(struct stuck_file_system *system);

// Starts a child that opens a file and does nothing more, or, with a closing thread, closes it in a second thread. -1 and errno
// when it cannot be started.
pid_t stuck_file_system_user(const char *path, int closing_thread);

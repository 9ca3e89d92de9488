// SPDX-License-Identifier: Apache-2.0

// A FUSE file system with one regular file, "file". Its server answers only INIT, LOOKUP and OPEN.
//
// The server is written in C because it is a fork of a process with many threads, and may only make system calls.
#pragma once
#include <stdint.h>
#include <sys/types.h>

struct stuck_file_system {
    // The process of the server. The file is /proc/PROCESS/root/tmp/file: the mount is in the server's own mount
    // namespace.
    pid_t process;
    // The number of requests for each value of enum fuse_opcode. The server writes them.
    volatile uint32_t *requests;
};

// Returns 0 or an errno: ENOENT without /dev/fuse, EPERM or EACCES without the right to mount.
int stuck_file_system_start(struct stuck_file_system *system);

// Ends the server, and thereby all waiting: each pending request fails with ECONNABORTED. No mount is left.
void stuck_file_system_end(struct stuck_file_system *system);

// Releases the counters of a server that has ended.
void stuck_file_system_forget(struct stuck_file_system *system);

// Starts a child that opens a file and does nothing more. With a closing thread, the child closes the file in a second
// thread. Returns -1 and sets errno when the child cannot be started.
pid_t stuck_file_system_user(const char *path, int closing_thread);

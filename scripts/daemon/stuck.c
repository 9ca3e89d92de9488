// SPDX-License-Identifier: Apache-2.0

// stuck: a file system that does not answer, for scripts/daemon/attack. It prints the path of the directory that has
// the file "file", and ends with its standard input. Tests/StuckFileSystem is the file system.
#include "stuck_file_system.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(void) {
    struct stuck_file_system system;
    int error = stuck_file_system_start(&system);
    if (error != 0) {
        fprintf(stderr, "a FUSE file system cannot be mounted: %s\n", strerror(error));
        return 1;
    }
    printf("/proc/%d/root/tmp\n", system.process);
    fflush(stdout);
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) {}
    stuck_file_system_end(&system);
    return 0;
}

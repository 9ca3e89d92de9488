// SPDX-License-Identifier: Apache-2.0
// Starts the kernel that another program has loaded, at once. This is C, because a static program of a few kilobytes
// is to run in guests, which have no such tool.
#include <stdio.h>
#include <sys/reboot.h>
#include <unistd.h>

int main(void) {
    sync();
    reboot(RB_KEXEC);
    perror("reboot");
    return 1;
}

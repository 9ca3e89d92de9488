// SPDX-License-Identifier: Apache-2.0
// Starts the kernel that another program has loaded, at once.
// This is C, because guests have no such tool, and take only static programs.
#include <stdio.h>
#include <sys/reboot.h>
#include <unistd.h>

int main(void) {
    sync();
    reboot(RB_KEXEC);
    perror("reboot");
    return 1;
}

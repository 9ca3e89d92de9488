// SPDX-License-Identifier: Apache-2.0
#include "CLiveUpdate.h"

#include <errno.h>
#include <linux/kexec.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

long cshims_kexec_load(int kernel, int initrd, const char *command_line) {
#ifdef SYS_kexec_file_load
    unsigned long flags = initrd < 0 ? KEXEC_FILE_NO_INITRAMFS : 0;
    return syscall(SYS_kexec_file_load, kernel, initrd, strlen(command_line) + 1, command_line, flags);
#else
    (void)kernel, (void)initrd, (void)command_line;
    errno = ENOSYS;
    return -1;
#endif
}

long cshims_kexec_unload(void) {
#ifdef SYS_kexec_file_load
    return syscall(SYS_kexec_file_load, -1, -1, 0, NULL, (unsigned long)KEXEC_FILE_UNLOAD);
#else
    errno = ENOSYS;
    return -1;
#endif
}

int cshims_kexec(void) { return reboot(RB_KEXEC); }

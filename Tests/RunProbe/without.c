// SPDX-License-Identifier: Apache-2.0

// A kernel without some system calls, as far as a seccomp filter can play it.
#include "probe.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

static const struct {
    const char *name;
    int number;
} known[] = {
    {"userfaultfd", SYS_userfaultfd}, {"seccomp", SYS_seccomp}, {"process_vm_readv", SYS_process_vm_readv},
    {"kcmp", SYS_kcmp},               {"pidfd_open", 434},      {"pidfd_getfd", 438},
};

static void forbid(const char *name, int error) {
    for (size_t index = 0; index < sizeof known / sizeof *known; index++) {
        if (strcmp(known[index].name, name) != 0) continue;
        struct sock_filter instructions[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)known[index].number, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog filter = {sizeof instructions / sizeof *instructions, instructions};
        OK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter));
        return;
    }
    fail(name, __LINE__, 0);
}

// Becomes a program for which the calls fail: `calls` has their names, with commas between them.
void without(const char *calls, const char *error, char **program) {
    OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    char *names = strdup(calls);
    for (char *name = strtok(names, ","); name != NULL; name = strtok(NULL, ",")) forbid(name, atoi(error));
    OK(execv(program[0], program));
}

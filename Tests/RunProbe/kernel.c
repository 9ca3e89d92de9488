// SPDX-License-Identifier: Apache-2.0

// Older kernels, as `luod --as-kernel` emulates them.
#include "probe.h"

void kernel(const char *version) {
    int old = strcmp(version, "7.0") == 0;
    struct rlimit limit;
    OK(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = limit.rlim_max;
    OK(setrlimit(RLIMIT_NOFILE, &limit));
    int dev = OK(device());
    int s = OK(create(dev, "kernel"));
    struct name name = {.size = sizeof name};
    struct word word = {sizeof word, 1};
    if (old) FAILS(EINVAL, ioctl(s, GET_NAME, &name));
    else OK(ioctl(s, GET_NAME, &name));
    // Only luod has the extensions.
    FAILS(EINVAL, ioctl(s, _IO(0xBA, 0x63), &word));
    FAILS(EINVAL, ioctl(dev, _IO(0xBA, 0x21), &word));
    int huge = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
    if (huge >= 0) FAILS(ENOENT, preserve(s, huge, 1000));
    for (uint64_t token = 0; token < 128; token++) OK(preserve(s, OK(memfd_create("probe", MFD_CLOEXEC)), token));
    int more = OK(memfd_create("probe", MFD_CLOEXEC));
    if (old) FAILS(ENOSPC, preserve(s, more, 128));
    else OK(preserve(s, more, 128));
    char numbered[16];
    for (int number = 1; number < 819; number++) {
        snprintf(numbered, sizeof numbered, "%d", number);
        OK(create(dev, numbered));
    }
    if (old) FAILS(ENOMEM, create(dev, "more"));
    else OK(create(dev, "more"));
}

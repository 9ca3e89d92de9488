#pragma once
#include <errno.h>
#include <seccomp.h>

// A macro with a cast, which Swift does not import.
static inline uint32_t luo_refuse(void) { return SCMP_ACT_ERRNO(EPERM); }

#pragma once
#include <errno.h>
#include <seccomp.h>

// Macros with casts, which Swift does not import.
static inline uint32_t luo_refuse(void) { return SCMP_ACT_ERRNO(EPERM); }
static inline uint32_t luo_allow(void) { return SCMP_ACT_ALLOW; }
static inline uint32_t luo_notify(void) { return SCMP_ACT_NOTIFY; }

// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <errno.h>
#include <seccomp.h>

// Swift does not import these macros, because they contain casts.
static inline uint32_t luo_refuse(void) { return SCMP_ACT_ERRNO(EPERM); }
static inline uint32_t luo_allow(void) { return SCMP_ACT_ALLOW; }
static inline uint32_t luo_notify(void) { return SCMP_ACT_NOTIFY; }

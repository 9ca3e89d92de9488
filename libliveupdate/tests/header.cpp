// SPDX-License-Identifier: Apache-2.0

// The header in C++, before or after the kernel's: -DKERNEL_FIRST, -DKERNEL_LAST.
#ifdef KERNEL_FIRST
#include <linux/liveupdate.h>
#endif
#include "liveupdate.h"
#ifdef KERNEL_LAST
#include <linux/liveupdate.h>
#endif
#include <cerrno>

static_assert(sizeof(liveupdate_ioctl_create_session) == 72 && sizeof(liveupdate_ioctl_retrieve_session) == 72, "");
static_assert(sizeof(liveupdate_session_preserve_fd) == 16 && sizeof(liveupdate_session_retrieve_fd) == 16, "");
static_assert(sizeof(liveupdate_session_finish) == 8 && sizeof(liveupdate_session_get_name) == 72, "");
static_assert(sizeof(luo_name) == 72 && sizeof(luo_question) == 16 && sizeof(luo_word) == 8, "");
static_assert(LIVEUPDATE_SESSION_GET_NAME == 0xBA43 && LIVEUPDATE_IOCTL_CREATE_SESSION == 0xBA00, "");

int main() {
    liveupdate_session_preserve_fd file{};
    file.size = sizeof file;
    return luo_ioctl(-1, LIVEUPDATE_SESSION_PRESERVE_FD, &file) == -1 && errno == EBADF && *luo_reason() ? 0 : 1;
}

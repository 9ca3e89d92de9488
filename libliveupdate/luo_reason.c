// SPDX-License-Identifier: Apache-2.0

// The reason of the last failure in each thread.
#include "internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// luod's text has at most 1,024 bytes behind the tag, and 4,096 in a struct.
static _Thread_local char reason[4096 + 1];

int luo__fail(int error, const char *format, ...) {
    va_list values;
    va_start(values, format);
    vsnprintf(reason, sizeof reason, format, values);
    va_end(values);
    errno = error;
    return -1;
}

int luo__fail_with(int error, const char *text, size_t length) {
    length = strnlen(text, length < sizeof reason - 1 ? length : sizeof reason - 1);
    if (length == 0) return luo__fail(error, "luod gave no reason for the error %d\nlook into luod's log", error);
    memcpy(reason, text, length);
    reason[length] = 0;
    errno = error;
    return -1;
}

const char *luo_reason(void) { return reason; }

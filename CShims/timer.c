// SPDX-License-Identifier: Apache-2.0
#include "CLiveUpdate.h"

#include <sys/timerfd.h>
#include <time.h>

int cshims_timer_create(void) { return timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK); }

int cshims_timer_set(int timer, uint64_t milliseconds) {
    struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(milliseconds / 1000), .tv_nsec = (long)(milliseconds % 1000) * 1000000}};
    return timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
}

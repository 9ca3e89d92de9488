// SPDX-License-Identifier: Apache-2.0
#include "CLiveUpdate.h"

#ifdef LIVEUPDATE_FAULTS

// The state is thread-local, so that tests that inject faults can run beside tests that do not.
static _Thread_local struct {
    long calls;    // system calls of this thread since it was armed
    long after;    // the number of the call that fails first; 0: count only
    int error;     // what it fails with
    int sticky;    // whether every later one fails, too
    int armed;
} faults;

void cshims_fault_arm(long after, int error, int sticky) {
    faults.calls = 0;
    faults.after = after;
    faults.error = error;
    faults.sticky = sticky;
    faults.armed = 1;
}

long cshims_fault_disarm(void) {
    faults.armed = 0;
    return faults.calls;
}

int cshims_fault(void) {
    if (!faults.armed) return 0;
    faults.calls++;
    if (faults.after == 0 || faults.calls < faults.after) return 0;
    return faults.calls == faults.after || faults.sticky ? faults.error : 0;
}

#endif

// SPDX-License-Identifier: Apache-2.0
#include "CLiveUpdate.h"

#include <string.h>

const char *cshims_errno_name(int number) { return strerrorname_np(number); }

// SPDX-License-Identifier: Apache-2.0
#include "CLiveUpdate.h"

#include <sys/ioctl.h>

int cshims_ioctl(int fd, unsigned long command, void *argument) { return ioctl(fd, command, argument); }

// SPDX-License-Identifier: Apache-2.0

// Makes the function-like macros of libfdt callable from Swift.
#pragma once
#include <libfdt.h>

static inline int clibfdt_totalsize(const void *tree) { return (int)fdt_totalsize(tree); }

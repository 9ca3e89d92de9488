// libfdt, with its function-like macros made callable.
#pragma once
#include <libfdt.h>

static inline int clibfdt_totalsize(const void *tree) { return (int)fdt_totalsize(tree); }

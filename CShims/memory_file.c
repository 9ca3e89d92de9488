// SPDX-License-Identifier: Apache-2.0
#include "CLiveUpdate.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

int cshims_memfd_create(const char *name, unsigned int flags) { return memfd_create(name, flags); }

int cshims_get_seals(int fd) { return fcntl(fd, F_GET_SEALS); }

int cshims_add_seals(int fd, int seals) { return fcntl(fd, F_ADD_SEALS, seals); }

int cshims_fallocate(int fd, off_t offset, off_t length) { return fallocate(fd, 0, offset, length); }

int cshims_punch_hole(int fd, off_t offset, off_t length) {
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
}

int cshims_lock_on_fault(const void *start, size_t length) { return mlock2(start, length, MLOCK_ONFAULT); }

static int answer(int result, const struct statfs *status, int64_t *type, int64_t *block_size) {
    if (result == 0) {
        *type = (int64_t)status->f_type;
        *block_size = (int64_t)status->f_bsize;
    }
    return result;
}

int cshims_filesystem(int fd, int64_t *type, int64_t *block_size) {
    struct statfs status;
    return answer(fstatfs(fd, &status), &status, type, block_size);
}

int cshims_filesystem_at(const char *path, int64_t *type, int64_t *block_size) {
    struct statfs status;
    return answer(statfs(path, &status), &status, type, block_size);
}

int cshims_cached_status(int fd, struct cshims_status *status) {
    // Times are not requested, because file systems may write back data before they return them.
    unsigned wanted = STATX_TYPE | STATX_MODE | STATX_NLINK | STATX_UID | STATX_GID | STATX_INO | STATX_SIZE | STATX_BLOCKS;
    struct statx found;
    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, wanted, &found) == -1) return -1;
    *status = (struct cshims_status){
        .device = makedev(found.stx_dev_major, found.stx_dev_minor),
        .inode = found.stx_ino,
        .size = found.stx_size,
        .links = found.stx_nlink,
        .blocks = found.stx_blocks,
        .of_device = makedev(found.stx_rdev_major, found.stx_rdev_minor),
        .is_dax = (found.stx_attributes & STATX_ATTR_DAX) != 0,
        .mode = found.stx_mode,
        .user = found.stx_uid,
        .group = found.stx_gid};
    return 0;
}

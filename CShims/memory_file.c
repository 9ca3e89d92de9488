#include "CShims.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
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

#include "CShims.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

int cshims_userfaultfd(void) { return (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY); }

int cshims_userfault_api(int fd) {
    struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_MINOR_HUGETLBFS};
    return ioctl(fd, UFFDIO_API, &api);
}

int cshims_userfault_register_minor(int fd, uint64_t address, uint64_t length) {
    struct uffdio_register area = {.range = {address, length}, .mode = UFFDIO_REGISTER_MODE_MINOR};
    return ioctl(fd, UFFDIO_REGISTER, &area);
}

int cshims_userfault_continue(int fd, uint64_t address, uint64_t length, int64_t *mapped) {
    struct uffdio_continue area = {.range = {address, length}};
    int result = ioctl(fd, UFFDIO_CONTINUE, &area);
    *mapped = area.mapped;
    return result;
}

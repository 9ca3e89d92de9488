// SPDX-License-Identifier: Apache-2.0
#include "CLiveUpdate.h"

#include <errno.h>
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

// Returns 1 when pages were mapped, 0 for a hole or a page that is mapped already, -1 on failure.
static int look(int fd, uint64_t address, uint64_t length, int64_t *mapped) {
    *mapped = 0;
#ifdef LIVEUPDATE_FAULTS
    int injected = cshims_fault();
    if (injected != 0) {
        errno = injected;
        return injected == EINTR ? look(fd, address, length, mapped) : -1;
    }
#endif
    if (cshims_userfault_continue(fd, address, length, mapped) == 0 || *mapped > 0) return 1;
    if (errno == EINTR) return look(fd, address, length, mapped);
    return errno == EFAULT || errno == EEXIST ? 0 : -1;
}

int cshims_userfault_search(
    int fd, uint64_t address, uint64_t page_size, uint64_t end_of_file, uint64_t limit, struct cshims_search *search) {
    search->looked = search->pages = 0;
    while (search->next < search->end && search->looked < limit) {
        uint64_t place = search->next, most = limit - search->looked, rest = end_of_file - place;
        int64_t mapped;
        int result = look(fd, address + place * page_size, (rest < most ? rest : most) * page_size, &mapped);
        if (result == -1) return -1;
        search->next += search->stride;
        search->looked++;
        if (result == 0) continue;
        search->found = place;
        search->pages = (uint64_t)mapped / page_size;
        return 0;
    }
    return 0;
}

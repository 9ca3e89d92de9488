// preserve FD...: the floor of preserving hugetlb memfds of 2 MiB pages with their exact holes and page frames.
//
// For every line on standard input it makes one round over all files and prints its nanoseconds. A round makes the
// system calls that preserving needs and nothing else: no allocation, no bookkeeping, no content.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

struct record {
    uint64_t index;  // in base pages from the start of the file
    uint64_t frame;  // page frame number
};

static struct record *records;
static size_t capacity;

static void check(int ok, const char *what) {
    if (!ok) perror(what), exit(1);
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

// Maps what exists in [at, end) up to the first hole and returns its bytes.
static uint64_t map_run(int userfault, uint64_t at, uint64_t end) {
    struct uffdio_continue run = {.range = {at, end - at}};
    if (ioctl(userfault, UFFDIO_CONTINUE, &run) == 0) return end - at;
    if (errno == EAGAIN && run.mapped > 0) return (uint64_t)run.mapped;
    check(errno == EFAULT, "UFFDIO_CONTINUE");  // the first page is a hole
    return 0;
}

static size_t preserve(int original, size_t count) {
    struct stat status;
    struct statfs filesystem;
    int fd = fcntl(original, F_DUPFD_CLOEXEC, 0);
    check(fd >= 0, "F_DUPFD_CLOEXEC");
    check(fstat(fd, &status) == 0, "fstat");
    check(fstatfs(fd, &filesystem) == 0, "fstatfs");
    check(fcntl(fd, F_GET_SEALS) >= 0, "F_GET_SEALS");
    check(lseek(fd, 0, SEEK_CUR) >= 0, "lseek");
    uint64_t size = (uint64_t)status.st_size, huge = (uint64_t)filesystem.f_bsize;
    if (size == 0) return close(fd), count;

    // Private and without reservation: a shared one would take a page from the pool for every hole.
    void *mapping = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
    check(mapping != MAP_FAILED, "mmap");
    uint64_t start = (uint64_t)(uintptr_t)mapping;

    int userfault = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
    check(userfault >= 0, "userfaultfd");
    struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_MINOR_HUGETLBFS};
    check(ioctl(userfault, UFFDIO_API, &api) == 0, "UFFDIO_API");
    struct uffdio_register area = {.range = {start, size}, .mode = UFFDIO_REGISTER_MODE_MINOR};
    check(ioctl(userfault, UFFDIO_REGISTER, &area) == 0, "UFFDIO_REGISTER");
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    check(pagemap >= 0, "/proc/self/pagemap");

    for (uint64_t at = start; at < start + size; at += huge) {  // past the hole at the end of each run
        uint64_t end = at + map_run(userfault, at, start + size);
        for (; at < end; at += huge) {
            uint64_t entry;
            check(pread(pagemap, &entry, sizeof entry, (off_t)(at / 4096 * 8)) == sizeof entry, "pread");
            struct record record = {(at - start) / 4096, entry & ((1ull << 55) - 1)};
            check(count < capacity, "more pages than at the start");
            memcpy(&records[count++], &record, sizeof record);
        }
    }

    close(pagemap);
    close(userfault);
    munmap(mapping, size);
    close(fd);
    return count;
}

int main(int argc, char **argv) {
    char line[256];
    for (int i = 1; i < argc; i++) {
        struct stat status;
        check(fstat(atoi(argv[i]), &status) == 0, argv[i]);
        capacity += (size_t)(status.st_size / status.st_blksize);
    }
    records = calloc(capacity + 1, sizeof *records);
    check(records != NULL, "calloc");
    memset(records, 1, (capacity + 1) * sizeof *records);  // its first touch is not part of the work

    while (fgets(line, sizeof line, stdin)) {
        size_t count = 0;
        uint64_t start = now();
        for (int i = 1; i < argc; i++) count = preserve(atoi(argv[i]), count);
        printf("%llu\n", (unsigned long long)(now() - start));
        fflush(stdout);
    }
    return 0;
}

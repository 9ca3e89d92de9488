// SPDX-License-Identifier: Apache-2.0

// preserve FD...: the floor of each phase in the life of preserved memory files. It finds their exact holes and, for
// huge pages, their page frames. Each phase makes only the system calls that it needs.
//
// preserve more COUNT: the floor of preserving one more file. It preserves COUNT memory files first. Then each round
// preserves one more and unpreserves it again.
#include "floor.h"

#include <linux/magic.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

// The structs are as large as the records in the arena: one for a page or an extent, and one for a file.
struct record { uint64_t place, what; };
struct file {
    int original, kept;
    uint64_t device, inode, size, position;
    char rest[24];
};

static struct record *records;  // in shared memory, as an arena is
static size_t capacity, used;
static struct file *published;
static int arena;

static void add(uint64_t place, uint64_t what) {
    check(used < capacity, "more pages than at the start");
    records[used++] = (struct record){place, what};
}

// Maps the pages that exist in [at, end) up to the first hole, and returns their bytes.
static uint64_t map_run(int userfault, uint64_t at, uint64_t end) {
    struct uffdio_continue run = {.range = {at, end - at}};
    if (ioctl(userfault, UFFDIO_CONTINUE, &run) == 0) return end - at;
    if (errno == EAGAIN && run.mapped > 0) return (uint64_t)run.mapped;
    check(errno == EFAULT, "UFFDIO_CONTINUE");  // the first page is a hole
    return 0;
}

static void map_huge(int fd, uint64_t size, uint64_t huge) {
    // Private and without reservation: a shared mapping would take a page from the pool for every hole.
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
    for (uint64_t at = start; at < start + size;) {
        uint64_t mapped = map_run(userfault, at, start + size), end = at + mapped;
        // EAGAIN does not say that a run ended at a hole. A page is a hole only if a call that begins at it maps
        // nothing.
        if (mapped == 0) at += huge;
        for (; at < end; at += huge) {
            uint64_t entry;
            check(pread(pagemap, &entry, sizeof entry, (off_t)(at / 4096 * 8)) == sizeof entry, "pread");
            add((at - start) / 4096, entry & ((1ull << 55) - 1));
        }
    }
    close(pagemap);
    close(userfault);
    munmap(mapping, size);
}

static void map_ordinary(int fd, uint64_t size) {
    // SEEK_DATA moves the offset, so this uses an open file description of its own.
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int own = open(path, O_RDONLY | O_CLOEXEC);
    check(own >= 0, path);
    for (off_t at = 0; (uint64_t)at < size;) {
        off_t data = lseek(own, at, SEEK_DATA);
        if (data < 0) break;
        at = lseek(own, data, SEEK_HOLE);
        check(at >= 0, "SEEK_HOLE");
        add((uint64_t)data, (uint64_t)(at - data));
    }
    close(own);
}

static void preserve(struct file *file) {
    struct stat status;
    struct statfs filesystem;
    file->kept = fcntl(file->original, F_DUPFD_CLOEXEC, 64);
    check(file->kept >= 0, "F_DUPFD_CLOEXEC");
    check(fstat(file->kept, &status) == 0, "fstat");
    check(fstatfs(file->kept, &filesystem) == 0, "fstatfs");
    check(fcntl(file->kept, F_GET_SEALS) >= 0, "F_GET_SEALS");
    file->position = (uint64_t)lseek(file->kept, 0, SEEK_CUR);
    file->device = status.st_dev, file->inode = status.st_ino, file->size = (uint64_t)status.st_size;
    if (file->size == 0) return;
    if (filesystem.f_type == HUGETLBFS_MAGIC) map_huge(file->kept, file->size, (uint64_t)filesystem.f_bsize);
    else map_ordinary(file->kept, file->size);
}

static void freeze(struct file *file) {
    struct stat status;
    check(fstat(file->kept, &status) == 0 && (uint64_t)status.st_size == file->size, "fstat");
    check((uint64_t)lseek(file->kept, 0, SEEK_CUR) == file->position, "lseek");
}

// Finds the arena by its descriptor, and checks that every record names the file that was preserved.
static void boot(const struct file *files, int count) {
    struct stat status;
    int own = fcntl(arena, F_DUPFD_CLOEXEC, 64);
    check(own >= 0 && fstat(own, &status) == 0, "the arena");
    volatile struct file *found = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, own, 0);
    check(found != MAP_FAILED, "mmap");
    for (int i = 0; i < count; i++) check(found[i].inode == files[i].inode, "a record");
    munmap((void *)found, (size_t)status.st_size);
    close(own);
}

static int retrieve(const struct file *file) {
    struct stat status;
    check(fstat(file->kept, &status) == 0 && status.st_ino == file->inode, "fstat");
    int fd = fcntl(file->kept, F_DUPFD_CLOEXEC, 3);
    check(fd >= 0, "F_DUPFD_CLOEXEC");
    return fd;
}

static void make_arena(int count, size_t pages) {
    size_t files_bytes = (size_t)(count + 1) * sizeof *published, records_bytes = (pages + 1) * sizeof *records;
    arena = memfd_create("floor", MFD_CLOEXEC);
    check(arena >= 0 && ftruncate(arena, (off_t)(files_bytes + records_bytes)) == 0, "memfd_create");
    published = mmap(NULL, files_bytes + records_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, arena, 0);
    check(published != MAP_FAILED, "mmap");
    records = (struct record *)((char *)published + files_bytes);
    memset(published, 1, files_bytes + records_bytes);  // its first touch is not part of the work
    capacity = pages;
}

#define TIMED(work) ({ uint64_t start_ = now(); work; (unsigned long long)(now() - start_); })

static void round_of(struct file *files, int *retrieved, int count) {
    unsigned long long times[7];
    used = 0;
    times[0] = TIMED(for (int i = 0; i < count; i++) preserve(&files[i]));
    times[1] = TIMED(for (int i = 0; i < count; i++) freeze(&files[i]));
    times[2] = TIMED(for (int i = 0; i < count; i++) memcpy(&published[i], &files[i], sizeof *files));
    times[3] = TIMED(boot(files, count));
    times[4] = TIMED(for (int i = 0; i < count; i++) retrieved[i] = retrieve(&files[i]));
    for (int i = 0; i < count; i++) close(retrieved[i]);
    times[5] = TIMED(for (int i = 0; i < count; i++) close(files[i].kept));
    for (int i = 0; i < count; i++) files[i].kept = fcntl(files[i].original, F_DUPFD_CLOEXEC, 64);
    times[6] = TIMED(for (int i = 0; i < count; i++) close(files[i].kept));
    for (int i = 0; i < 7; i++) printf("%llu%c", times[i], i < 6 ? ' ' : '\n');
}

static int one_more(int before) {
    char line[64];
    struct file file = {0};
    make_arena(1, (size_t)before + 1000000);
    for (int i = -before;; i++) {
        if (i >= 0 && !fgets(line, sizeof line, stdin)) return 0;
        file.original = memfd_create("floor", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        check(file.original >= 0 && ftruncate(file.original, 4096) == 0, "memfd_create");
        unsigned long long time = TIMED(preserve(&file));
        close(file.original);
        if (i < 0) continue;
        close(file.kept);
        used = 0;
        printf("%llu\n", time);
        fflush(stdout);
    }
}

int main(int argc, char **argv) {
    char line[64];
    if (argc == 3 && strcmp(argv[1], "more") == 0) return one_more(atoi(argv[2]));
    int count = argc - 1;
    size_t pages = 0;
    struct file *files = calloc((size_t)count + 1, sizeof *files);
    int *retrieved = calloc((size_t)count + 1, sizeof *retrieved);
    check(files && retrieved, "calloc");
    for (int i = 0; i < count; i++) {
        struct stat status;
        files[i].original = atoi(argv[i + 1]);
        check(fstat(files[i].original, &status) == 0, argv[i + 1]);
        pages += (size_t)(status.st_size / status.st_blksize) + 1;
    }
    make_arena(count, pages);
    while (fgets(line, sizeof line, stdin)) {
        round_of(files, retrieved, count);
        fflush(stdout);
    }
    return 0;
}

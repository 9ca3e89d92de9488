// exec go FIRST COUNT NANOSECONDS: the floor of replacing a process that keeps its memory files.
//
// Started by execve with the descriptors FIRST ... FIRST + COUNT - 1 inherited, it reads one word of each and prints
// the nanoseconds since the given time of CLOCK_MONOTONIC, which was taken right before the execve. The first page of
// each file must exist: reading a hole of a hugetlb file would fill it.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

static void check(int ok, const char *what) {
    if (!ok) perror(what), exit(1);
}

int main(int argc, char **argv) {
    if (argc != 5 || strcmp(argv[1], "go") != 0) return fputs("usage: exec go FIRST COUNT NANOSECONDS\n", stderr), 2;
    int first = atoi(argv[2]), count = atoi(argv[3]);
    for (int fd = first; fd < first + count; fd++) {
        struct stat status;
        check(fstat(fd, &status) == 0, "fstat");
        if (status.st_size == 0) continue;
        size_t page = (size_t)status.st_blksize;  // for a hugetlb file the size of its huge pages
        volatile uint64_t *words = mmap(NULL, page, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
        check(words != MAP_FAILED, "mmap");
        (void)words[0];
        munmap((void *)words, page);
    }
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    unsigned long long now = (unsigned long long)time.tv_sec * 1000000000 + (unsigned long long)time.tv_nsec;
    printf("%llu\n", now - strtoull(argv[4], NULL, 10));
    return 0;
}

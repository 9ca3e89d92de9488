// read FD...: the floor of verifying, which is just reading the memory.
//
// Maps each file whole and touches it, then for every line on standard input sums all words of all files and prints
// the nanoseconds. The files must have no holes: touching one of a hugetlb file would fill it.
#include "floor.h"

struct view {
    const uint64_t *words;
    size_t bytes;
};

static volatile uint64_t sink;  // so that the sums are not optimized away

// LANES independent sums: enough for the compiler to use vectors and for the loads not to wait for the additions.
// Two streams, because the prefetcher keeps the memory busier with two than with one; four run out of registers.
enum { LANES = 8, STREAMS = 2 };

static uint64_t sum(struct view view) {
    uint64_t sums[STREAMS][LANES] = {0}, total = 0;
    size_t stride = view.bytes / STREAMS / sizeof(uint64_t);  // files are whole pages, so all of this divides
    for (size_t at = 0; at < stride; at += LANES)
        for (int stream = 0; stream < STREAMS; stream++)
            for (int lane = 0; lane < LANES; lane++) sums[stream][lane] += view.words[stream * stride + at + lane];
    for (int stream = 0; stream < STREAMS; stream++)
        for (int lane = 0; lane < LANES; lane++) total += sums[stream][lane];
    return total;
}

int main(int argc, char **argv) {
    char line[256];
    struct view *views = calloc((size_t)argc, sizeof *views);
    check(views != NULL, "calloc");
    for (int i = 1; i < argc; i++) {
        struct stat status;
        int fd = atoi(argv[i]);
        check(fstat(fd, &status) == 0, argv[i]);
        views[i].bytes = (size_t)status.st_size / 4096 * 4096;
        if (views[i].bytes == 0) continue;
        void *mapping = mmap(NULL, views[i].bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE | MAP_POPULATE, fd, 0);
        check(mapping != MAP_FAILED, "mmap");
        views[i].words = mapping;
    }
    while (fgets(line, sizeof line, stdin)) {
        uint64_t start = now(), total = 0;
        for (int i = 1; i < argc; i++) total += sum(views[i]);
        sink = total;
        printf("%llu\n", (unsigned long long)(now() - start));
        fflush(stdout);
    }
    return 0;
}
